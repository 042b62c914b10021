-- Moves one element in flight to the dead letters, unless it is no longer held.
-- KEYS[4]: the dead letters. ARGV: member, then the dead letter's fields but the payload, which is copied here.
-- Returns how many dead letters were dropped.
local member = ARGV[1]
if not redis.call('ZSCORE', inflight, member) then return 0 end
local fields = {unpack(ARGV, 2)}
local record = record_of(id_of(member))
if record then
  fields[#fields + 1] = 'payload'
  fields[#fields + 1] = payload_in(record) or record
end
check_removals()
local dropped = add_dead_letter(KEYS[4], fields)
return forget({member}) or dropped
