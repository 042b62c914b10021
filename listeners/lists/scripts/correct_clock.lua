-- Ends leases and waits that end later than now plus their length: the server's clock has stepped back since.
-- ARGV: ZSCAN cursor. Returns the next one, or '0' at the end.
local tolerance = 1000
local page = redis.call('ZSCAN', inflight, ARGV[1], 'COUNT', 500)
for at = 1, #page[2], 2 do
  local member, score = page[2][at], tonumber(page[2][at + 1])
  local state, _, ms = parse(member)
  if score > now + (ms or 0) + tolerance then
    redis.call('ZADD', inflight, (state == 't' or state == 'a') and 0 or now, member)
  end
end
return page[1]
