-- Claims entries whose lease is over, unless they changed since they were read.
-- KEYS: stream. ARGV: group, lease in ms, then for each entry: its ID, the consumer and the delivery count with which it
-- was read, 1 if its idle time stood still, the consumer that claims it, and its new delivery count.
-- Returns the IDs that were claimed, and those that are no longer in the stream.
local group, lease = ARGV[1], tonumber(ARGV[2])
local claimed, deleted = {}, {}
for at = 3, #ARGV, 6 do
  local id = ARGV[at]
  local consumer, idle, deliveries = pending(group, id)
  if consumer == ARGV[at + 1] and deliveries == tonumber(ARGV[at + 2])
    and (idle >= lease or (ARGV[at + 3] == '1' and idle <= 0)) then
    local ids = assign(group, id, ARGV[at + 4], 0, ARGV[at + 5]) and claimed or deleted
    ids[#ids + 1] = id
  end
end
return {claimed, deleted}
