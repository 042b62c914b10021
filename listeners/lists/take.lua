-- Takes elements and records them as in flight: first those whose lease expired or whose retry is due, then new ones.
-- ARGV: lease in ms, maximum count, 1 to take from the beginning; then id and deliveries of each element that is done.
-- Done elements that a later delivery holds are left alone.
-- Returns {ms until the next element in flight becomes available, or -1; {id, deliveries, payload, id, ...}}. The first
-- value is valid only if nothing was taken.
settle(4, true)
local lease, count, beginning = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'

-- From here on, all reads come before all writes, and elements are recorded before the list is trimmed. A key of the
-- wrong type or a server out of memory then fails the script before it has changed anything.
local nearest = redis.call('ZRANGE', inflight, 0, 0, 'WITHSCORES')
local due = redis.call('ZRANGEBYSCORE', inflight, '-inf', now, 'LIMIT', 0, count)
local wanted = count - #due
local fresh = {}
if wanted > 0 and beginning then
  fresh = redis.call('LRANGE', list, 0, wanted - 1)
elseif wanted > 0 then
  fresh = redis.call('LRANGE', list, -wanted, -1)
end

-- A user with permission for only some of the commands could leave elements both in the list and in flight. After a
-- refusal, nothing more is written, and earlier writes are undone.
local refusal
local function write(...)
  if refusal then return end
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then refusal = answer end
  return answer
end

local taken, before, records, leases = {}, {}, {}, {}
local lease_end = string.format('%.0f', now + lease)
local function hand_out(id, deliveries, payload)
  local pair, triple = #records, #taken
  records[pair + 1], records[pair + 2] = id, deliveries .. ':' .. payload
  leases[pair + 1], leases[pair + 2] = lease_end, id
  taken[triple + 1], taken[triple + 2], taken[triple + 3] = id, deliveries, payload
end

-- A command costs more than an argument; Lua's unpack has a limit.
local function record_taken()
  for at = 1, #records, 1000 do
    local last = math.min(at + 999, #records)
    write('HSET', elements, unpack(records, at, last))
    write('ZADD', inflight, unpack(leases, at, last))
  end
end

local function undo()
  for at = 1, #taken, 3 do
    local id = taken[at]
    if before[id] then
      redis.pcall('HSET', elements, id, before[id])
      redis.pcall('ZADD', inflight, now, id)
    else
      redis.pcall('ZREM', inflight, id)
      redis.pcall('HDEL', elements, id)
    end
  end
end

for _, id in ipairs(due) do
  local record = redis.call('HMGET', elements, id)[1]
  if record then
    local deliveries, payload = read(record)
    before[id] = record
    hand_out(id, deliveries + 1, payload)
  else
    write('ZREM', inflight, id)
  end
end

local number = #fresh
local last = number > 0 and write('HINCRBY', elements, 'sequence', number)
if number > 0 and not refusal then
  for at = 1, number do
    local payload = beginning and fresh[at] or fresh[number + 1 - at]
    hand_out(string.format('%.0f', last - number + at), 1, payload)
  end
end
record_taken()
if number > 0 then
  if beginning then
    write('LTRIM', list, number, -1)
  else
    write('LTRIM', list, 0, -number - 1)
  end
end

if refusal then
  undo()
  return refusal
end
return {nearest[2] and math.max(0, nearest[2] - now) or -1, taken}
