-- Claims entries whose lease is over, unless they changed since they were read.
-- KEYS: stream. ARGV: group, lease in ms, then for each entry: its ID, the consumer and the delivery count with which it
-- was read, 1 if its idle time stood still, 1 if the same claim may have been executed before, the consumer that claims
-- it, and its new delivery count.
-- Returns the IDs that were claimed, and those that are no longer in the stream.
local group, lease = ARGV[1], tonumber(ARGV[2])
local claimed, deleted = {}, {}
for at = 3, #ARGV, 7 do
  local id, target, count = ARGV[at], ARGV[at + 5], ARGV[at + 6]
  local consumer, idle, deliveries = pending(group, id)
  local is_over = consumer == ARGV[at + 1] and deliveries == tonumber(ARGV[at + 2])
    and (idle >= lease or (ARGV[at + 3] == '1' and idle <= 0))
  -- What this consumer had before, it may have taken in another way meanwhile.
  local was_claimed = ARGV[at + 4] == '1' and ARGV[at + 1] ~= target
    and consumer == target and deliveries == tonumber(count)
  if is_over or was_claimed then
    local ids = assign(group, id, target, 0, count) and claimed or deleted
    ids[#ids + 1] = id
  end
end
return {claimed, deleted}
