-- Settles elements in flight; one that a later delivery holds is left alone.
-- ARGV: id, deliveries, action, argument for each. Actions: done; retry (delay in ms); renew (lease in ms);
-- back (available at once, and this delivery does not count).
-- Answers the ids of those left alone.
local lost = {}
for at = 1, #ARGV, 4 do
  local id, deliveries, action, argument = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local payload = held(id, deliveries)
  if not payload then
    lost[#lost + 1] = id
  elseif action == 'done' then
    forget(id)
  elseif action == 'back' then
    redis.call('HSET', elements, id, (deliveries - 1) .. ':' .. payload)
    redis.call('ZADD', inflight, now, id)
  else
    redis.call('ZADD', inflight, now + tonumber(argument), id)
  end
end
return lost
