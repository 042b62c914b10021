-- Takes elements: first those that wait and are due, then new ones. Lapsed leases become suspects, which are not taken.
-- ARGV: token and first number of the new IDs, lease in ms, maximum count, maximum bytes (one element may exceed it),
-- 1 to take from the beginning, and the members of elements that are done, with spaces between them: as one argument,
-- they cost the client little.
-- Returns {ms until the next element becomes available, or -1; 1 if there are suspects; members that cannot be read,
-- leased so that the caller can set them aside; {member, calls, payload, member, ...}}. The first value is valid only
-- if fewer were taken than the maximum count.
local token, number, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local count, room, beginning = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'

local done = {}
for member in string.gmatch(ARGV[7], '%S+') do done[#done + 1] = member end
local refusal = forget(done)
if refusal then return refusal end

local taken, unreadable = {}, {}

local function hand_out(member, calls, payload)
  local at = #taken
  taken[at + 1], taken[at + 2], taken[at + 3] = member, calls, payload
  room = room - #payload
end

-- Returns a new ID, and the member of an element that is taken under it.
local function next_member(calls)
  local id = token .. '-' .. number
  number = number + 1
  return id, id .. ':t' .. calls .. ':' .. ARGV[3]
end

-- Returns the members that wait and are due, whether leases have lapsed, and a refusal.
local function read_due()
  local any_lapsed = false
  while true do
    local waiting, lapsed = {}, {}
    unreadable = {}
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', inflight, '(0', now, 'LIMIT', 0, count)) do
      local state = parse(member)
      if state == 'w' then
        waiting[#waiting + 1] = member
      elseif state then
        lapsed[#lapsed + 1] = 0
        lapsed[#lapsed + 1] = member
      else
        unreadable[#unreadable + 1] = member
      end
    end
    if #lapsed == 0 then return waiting, any_lapsed end
    any_lapsed = true
    local refused = run('ZADD', inflight, lapsed)
    if refused then return {}, any_lapsed, refused end
  end
end

-- Returns whether there was room for all elements, and a refusal.
local function take_waiting(waiting)
  if #waiting > 0 then check_removals() end
  for _, member in ipairs(waiting) do
    local record = record_of(id_of(member))
    local payload = payload_in(record)
    if not payload then
      unreadable[#unreadable + 1] = member
    elseif #taken > 0 and #payload > room then
      return false
    else
      local _, calls = parse(member)
      local _, leased = next_member(calls)
      local refused = take_again(member, record, leased, lease)
      if refused then return false, refused end
      hand_out(leased, calls, payload)
    end
  end
  return true
end

-- Returns up to `wanted` elements of the list in order of taking, or nil and a refusal. As a list does not tell the sizes
-- of its elements, it reads one, and then as many as have room at the average size so far.
local function read_new(wanted)
  local found, bytes, step = {}, 0, math.min(wanted, 1)
  while step > 0 do
    local from, to = #found, #found + step - 1
    if not beginning then from, to = -to - 1, -from - 1 end
    local page = redis.pcall('LRANGE', list, from, to)
    if page.err then return nil, page end
    for at = 1, #page do
      local payload = page[beginning and at or #page + 1 - at]
      if bytes + #payload > room and (#found > 0 or #taken > 0) then return found end
      found[#found + 1] = payload
      bytes = bytes + #payload
    end
    if #page < step then return found end
    step = math.min(wanted - #found, math.floor((room - bytes) / math.max(bytes / #found, 1)))
  end
  return found
end

-- Returns a refusal, after which nothing has changed: all reads come before all writes, elements are recorded before the
-- list is trimmed, and earlier writes are undone.
local function take_new(wanted)
  local found, refused = read_new(wanted)
  if refused or #found == 0 then return refused end
  local members, records, leases, lease_end = {}, {}, {}, string.format('%.0f', now + lease)
  for at, payload in ipairs(found) do
    local id, member = next_member(0)
    members[at] = member
    records[2 * at - 1], records[2 * at] = id, '1:' .. payload
    leases[2 * at - 1], leases[2 * at] = lease_end, member
  end
  refused = run('HSET', elements, records)
    or run('ZADD', inflight, leases)
    or run('LTRIM', list, beginning and {#found, -1} or {0, -#found - 1})
  if refused then
    forget(members)
    return refused
  end
  for at, payload in ipairs(found) do hand_out(members[at], 0, payload) end
end

local lowest = tonumber(redis.call('ZRANGE', inflight, 0, 0, 'WITHSCORES')[2])
local suspects = lowest and lowest <= 0
local waiting, any_lapsed, has_room
waiting, any_lapsed, refusal = read_due()
if refusal then return refusal end
has_room, refusal = take_waiting(waiting)
if has_room and (#taken == 0 or room > 0) then refusal = take_new(count - #taken / 3) end
if #unreadable > 0 then
  local leases = {}
  for at, member in ipairs(unreadable) do leases[2 * at - 1], leases[2 * at] = now + lease, member end
  refusal = run('ZADD', inflight, leases) or refusal
end
-- What was taken is returned in any case. The next attempt meets the refusal again.
if refusal and #taken == 0 then return refusal end

local nearest = -1
if #taken / 3 < count and (lowest or #taken > 0) then
  local due = tonumber(redis.call('ZRANGEBYSCORE', inflight, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2])
  if due then nearest = due - now end
end
return {nearest, (suspects or any_lapsed) and 1 or 0, unreadable, taken}
