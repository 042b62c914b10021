-- Elements in flight. Each has two parts, and is not in the list meanwhile:
-- - a member of the sorted set `inflight`: ID:STATE CALLS:MS, such as 3f9c0a52d1e7-42:t0:30000. The score is the time
--   (server clock, ms) at which it becomes available, MS after it was set. From score 0 down they are suspects: their
--   lease ended without an outcome. STATE is t (taken), a (taken, and called alone) or w (waiting, its outcome known).
--   CALLS is how many calls with it are known to have begun and not succeeded.
-- - a field of the hash `elements`: ID -> 1:PAYLOAD, where 1 is the version of the record.
-- Each taking gives a new ID, which no other host and no earlier data of the server can have. So a member is its
-- holder's receipt: it is gone as soon as somebody else takes the element. The call of a suspect has an ID of its own,
-- too: if a fail-over sets the element back to before the call began, the end of the call must not remove its record.
local list, inflight, elements = KEYS[1], KEYS[2], KEYS[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function id_of(member)
  return string.match(member, '^[^:]*')
end

-- Returns state, calls and MS of a member; nil if it cannot be read.
local function parse(member)
  local state, calls, ms = string.match(member, '^[^:]+:([taw])(%d+):(%d+)$')
  if state then return state, tonumber(calls), tonumber(ms) end
end

-- Returns an element's record, or false if there is none.
local function record_of(id)
  return redis.call('HMGET', elements, id)[1]
end

-- Returns the payload in a record; nil if it cannot be read.
local function payload_in(record)
  return record and string.sub(record, 1, 2) == '1:' and string.sub(record, 3) or nil
end

-- Runs a command in pages: it costs more than an argument, and Lua's unpack has a limit. Returns the first refusal.
local function run(command, key, arguments)
  for at = 1, #arguments, 1000 do
    local answer = redis.pcall(command, key, unpack(arguments, at, math.min(at + 999, #arguments)))
    if type(answer) == 'table' and answer.err then return answer end
  end
end

-- Fails before anything is written if the user may not remove members or records: adding would repeat elements. After
-- these writes, a server that is out of memory refuses none of the script's others, which move what it has already.
local function check_removals()
  redis.call('ZREM', inflight, '')
  redis.call('HDEL', elements, '')
end

-- Removes elements for good. `members` that are gone are left alone.
local function forget(members)
  local ids = {}
  for number, member in ipairs(members) do ids[number] = id_of(member) end
  return run('ZREM', inflight, members) or run('HDEL', elements, ids)
end

-- Replaces a member by another of the same ID. Call check_removals() first.
local function replace(member, new_member, score)
  redis.call('ZADD', inflight, score, new_member)
  if new_member ~= member then redis.call('ZREM', inflight, member) end
end

-- Leases an element under a new ID. Call check_removals() first. Returns a refusal, after which nothing has changed.
local function take_again(member, record, new_member, lease)
  local refusal = run('ZADD', inflight, {now + lease, new_member})
  if refusal then return refusal end
  refusal = run('HSET', elements, {id_of(new_member), record})
  if refusal then
    redis.call('ZREM', inflight, new_member)
    return refusal
  end
  redis.call('ZREM', inflight, member)
  redis.call('HDEL', elements, id_of(member))
end
