-- Takes elements and records them as in flight: first those whose lease ran out or whose retry is due, then new ones.
-- ARGV: lease in ms, how many, 1 to take from the beginning.
-- Answers {ms until the next one in flight becomes available, or -1; {id, deliveries, payload, id, ...}}.
local lease, count, beginning = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'

-- Everything is read before anything is written, and what is recorded is written before the list is cut: a key of
-- another type or a server out of memory refuses the script while it has changed nothing.
local due = redis.call('ZRANGEBYSCORE', inflight, '-inf', now, 'LIMIT', 0, count)
local wanted = count - #due
local fresh = {}
if wanted > 0 and beginning then
  fresh = redis.call('LRANGE', list, 0, wanted - 1)
elseif wanted > 0 then
  fresh = redis.call('LRANGE', list, -wanted, -1)
end

local taken = {}
local function hand_out(id, deliveries, payload)
  redis.call('HSET', elements, id, deliveries .. ':' .. payload)
  redis.call('ZADD', inflight, now + lease, id)
  taken[#taken + 1] = id
  taken[#taken + 1] = deliveries
  taken[#taken + 1] = payload
end

for _, id in ipairs(due) do
  local record = redis.call('HGET', elements, id)
  if record then
    local deliveries, payload = read(record)
    hand_out(id, deliveries + 1, payload)
  else
    redis.call('ZREM', inflight, id)
  end
end

local number = #fresh
if number > 0 then
  local last = redis.call('HINCRBY', elements, 'sequence', number)
  for at = 1, number do
    local payload = beginning and fresh[at] or fresh[number + 1 - at]
    hand_out(string.format('%.0f', last - number + at), 1, payload)
  end
  if beginning then
    redis.call('LTRIM', list, number, -1)
  else
    redis.call('LTRIM', list, 0, -number - 1)
  end
end

local nearest = redis.call('ZRANGE', inflight, 0, 0, 'WITHSCORES')
return {nearest[2] and math.max(0, nearest[2] - now) or -1, taken}
