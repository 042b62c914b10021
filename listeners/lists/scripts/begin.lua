-- Records that the call with a suspect begins, and leases it. Has no effect if it is repeated.
-- ARGV: member, new member, lease in ms.
-- Returns {}: the suspect is no longer held. {member}: its record cannot be read. {new member, payload} otherwise.
local member, new_member = ARGV[1], ARGV[2]
if not redis.call('ZSCORE', inflight, member) then
  if not redis.call('ZSCORE', inflight, new_member) then return {} end
  member = new_member
end
local payload = payload_in(record_of(id_of(member)))
if not payload then return {member} end
check_removals()
replace(member, new_member, now + ARGV[3])
return {new_member, payload}
