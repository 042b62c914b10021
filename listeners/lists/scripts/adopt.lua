-- Extends the leases of elements that this instance has taken without learning of them, because the answer was lost.
-- ARGV: token, first number of the IDs under which take.lua may have taken elements, the number after the last one,
-- lease in ms (that of the taking), how many calls an element can have, maximum count, maximum bytes (one element may
-- exceed it).
-- Returns {the number with which to go on, which is the one after the last if all were examined, or -1 if nothing was
-- taken from there on; members that cannot be read, leased so that the caller can set them aside; {member, calls,
-- payload, member, ...}}.
local first, stop, lease, max_calls = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local count, room = tonumber(ARGV[6]), tonumber(ARGV[7])
local adopted, unreadable = {}, {}

-- Returns the member that take.lua has made for an ID and its calls, if it is still there. To look for each is cheaper
-- than to search all members.
local function taken_member(id)
  for calls = 0, max_calls do
    local member = id .. ':t' .. calls .. ':' .. lease
    if redis.call('ZSCORE', inflight, member) then return member, calls end
  end
end

for number = first, stop - 1 do
  local id = ARGV[1] .. '-' .. number
  local record = record_of(id)
  if not record then return {-1, unreadable, adopted} end  -- the numbers of one taking have no gaps
  local member, calls = taken_member(id)
  if member then
    local payload, size = payload_in(record), #adopted
    if payload and size > 0 and (size >= 3 * count or #payload > room) then return {number, unreadable, adopted} end
    redis.call('ZADD', inflight, now + lease, member)
    if payload then
      adopted[size + 1], adopted[size + 2], adopted[size + 3] = member, calls, payload
      room = room - #payload
    else
      unreadable[#unreadable + 1] = member
    end
  end
end
return {stop, unreadable, adopted}
