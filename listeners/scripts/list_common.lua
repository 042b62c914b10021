-- An element in flight is its id in the sorted set `inflight`, with the time (server clock, ms) at which it becomes
-- available again as the score, and "deliveries:payload" in the hash `elements`. The list does not hold it meanwhile.
local list, inflight, elements = KEYS[1], KEYS[2], KEYS[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function read(record)
  local colon = string.find(record, ':', 1, true)
  return tonumber(string.sub(record, 1, colon - 1)), string.sub(record, colon + 1)
end

-- The payload of an element, if the delivery that the caller speaks of is still the latest one.
local function held(id, deliveries)
  local record = redis.call('HMGET', elements, id)[1]
  if not record then return nil end
  local latest, payload = read(record)
  if latest == tonumber(deliveries) then return payload end
  return nil
end

local function forget(id)
  redis.call('ZREM', inflight, id)
  redis.call('HDEL', elements, id)
end
