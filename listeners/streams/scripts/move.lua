-- Moves pending entries that this instance holds to one of its consumers. Entries that another consumer holds are left
-- alone, so an instance whose lease ran out changes nothing.
-- KEYS: stream. ARGV: group, three consumers whose entries are moved (or empty), the consumer that gets them (empty:
-- each stays with its own), their new idle time in ms, then for each entry its ID and delivery count (empty: keep it).
-- Returns the IDs that were moved, and those that are no longer in the stream.
local group, target, idle = ARGV[1], ARGV[5], ARGV[6]
local from = {[ARGV[2]] = true, [ARGV[3]] = true, [ARGV[4]] = true}
local moved, deleted = {}, {}
for at = 7, #ARGV, 2 do
  local id, deliveries = ARGV[at], ARGV[at + 1]
  local consumer, _, count = pending(group, id)
  if consumer and from[consumer] then
    if target ~= '' then consumer = target end
    if deliveries ~= '' then count = deliveries end
    local ids = assign(group, id, consumer, idle, count) and moved or deleted
    ids[#ids + 1] = id
  end
end
return {moved, deleted}
