-- Leases one suspect under a new ID, with its state and calls unchanged, and without returning its payload.
-- ARGV: new ID, lease in ms.
-- Returns {}: there is none. {'', member}: the member cannot be read, and is leased so that the caller can set it aside.
-- {new member, state, calls} otherwise.
local member = redis.call('ZRANGEBYSCORE', inflight, '-inf', 0, 'LIMIT', 0, 1)[1]
if not member then return {} end
local state, calls = parse(member)
local record = record_of(id_of(member))
if not state or not payload_in(record) then
  redis.call('ZADD', inflight, now + ARGV[2], member)
  return {'', member}
end
check_removals()
local leased = ARGV[1] .. ':' .. state .. calls .. ':' .. ARGV[2]
local refusal = take_again(member, record, leased, tonumber(ARGV[2]))
if refusal then return refusal end
return {leased, state, calls}
