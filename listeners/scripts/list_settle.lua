-- Settles elements in flight; one that a later delivery holds is left alone.
-- ARGV: id, deliveries, action, argument for each. Actions: done; retry (delay in ms); renew (lease in ms);
-- back (available at once, and this delivery does not count).
-- Answers the ids of those left alone.

-- A call costs more than an argument; Lua's unpack has a limit.
local PAGE = 1000
local lost = {}

local function settle(first, last)
  local ids, done = {}, {}
  for at = first, last, 4 do ids[#ids + 1] = ARGV[at] end
  local records = redis.call('HMGET', elements, unpack(ids))
  for number, id in ipairs(ids) do
    local at = first + 4 * (number - 1)
    local deliveries, action, argument = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local latest, payload
    if records[number] then latest, payload = read(records[number]) end
    if latest ~= tonumber(deliveries) then
      lost[#lost + 1] = id
    elseif action == 'done' then
      done[#done + 1] = id
    elseif action == 'back' then
      redis.call('HSET', elements, id, (deliveries - 1) .. ':' .. payload)
      redis.call('ZADD', inflight, now, id)
    else
      redis.call('ZADD', inflight, now + tonumber(argument), id)
    end
  end
  if #done > 0 then
    redis.call('ZREM', inflight, unpack(done))
    redis.call('HDEL', elements, unpack(done))
  end
end

for first = 1, #ARGV, 4 * PAGE do
  settle(first, math.min(first + 4 * PAGE - 1, #ARGV))
end
return lost
