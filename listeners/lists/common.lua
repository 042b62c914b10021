-- An element in flight has its id in the sorted set `inflight`, scored with the time (server clock, ms) at which it
-- becomes available again, and "deliveries:payload" in the hash `elements`. Meanwhile it is not in the list.
local list, inflight, elements = KEYS[1], KEYS[2], KEYS[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function read(record)
  local colon = string.find(record, ':', 1, true)
  return tonumber(string.sub(record, 1, colon - 1)), string.sub(record, colon + 1)
end

-- Returns whether the caller's delivery is still the latest one. Does not copy the payload, which would take time.
local function is_latest(record, deliveries)
  return record and string.sub(record, 1, #deliveries + 1) == deliveries .. ':'
end

-- Returns the payload of an element if the caller's delivery is still the latest one.
local function held(id, deliveries)
  local record = redis.call('HMGET', elements, id)[1]
  return is_latest(record, deliveries) and string.sub(record, #deliveries + 2) or nil
end

local function forget(id)
  redis.call('ZREM', inflight, id)
  redis.call('HDEL', elements, id)
end

-- Settles elements in flight, except those that a later delivery holds. Returns the ids of the latter.
-- ARGV from `first` on: id, deliveries, action, argument for each. Actions: done; retry (delay in ms); renew (lease in
-- ms); back (available at once, and this delivery does not count). With `all_done`, only id and deliveries for each.
-- A command costs more than an argument, so each command covers up to 1,000 elements; Lua's unpack has a limit.
local function settle(first, all_done)
  local lost, width = {}, all_done and 2 or 4
  for page = first, #ARGV, 1000 * width do
    local ids, done = {}, {}
    for at = page, math.min(page + 1000 * width - 1, #ARGV), width do ids[#ids + 1] = ARGV[at] end
    local records = redis.call('HMGET', elements, unpack(ids))
    for number, id in ipairs(ids) do
      local at = page + width * (number - 1)
      local deliveries, action, argument = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
      local record = records[number]
      if not is_latest(record, deliveries) then
        lost[#lost + 1] = id
      elseif all_done or action == 'done' then
        done[#done + 1] = id
      elseif action == 'back' then
        redis.call('HSET', elements, id, (deliveries - 1) .. string.sub(record, #deliveries + 1))
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
  return lost
end
