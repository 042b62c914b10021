-- Records that the call with a suspect begins, and leases it under a new ID. Repeating it only renews the lease.
-- ARGV: member, new member, lease in ms.
-- Returns {}: the suspect is no longer held. {member}: its record cannot be read. {new member, payload} otherwise.
local member, new_member = ARGV[1], ARGV[2]
if not redis.call('ZSCORE', inflight, member) then
  if not redis.call('ZSCORE', inflight, new_member) then return {} end
  member = new_member
end
local record = record_of(id_of(member))
local payload = payload_in(record)
if not payload then return {member} end
if member == new_member then
  redis.call('ZADD', inflight, now + ARGV[3], member)
  return {member, payload}
end
check_removals()
local refusal = take_again(member, record, new_member, tonumber(ARGV[3]))
if refusal then return refusal end
return {new_member, payload}
