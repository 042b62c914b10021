-- Adds a dead letter, given its fields as an array of at most 2,100 names and values, and drops the oldest beyond the
-- bounds of its key: 10,000 dead letters and 256 MiB. Never drops the new one. Returns how many were dropped.
-- Measuring a key costs up to a millisecond, so it is done for a letter of 1 MiB or more, and about every 16th smaller
-- one. A key exceeds the bound in bytes by some 16 MiB at most. A user without MEMORY USAGE has only the first bound.
-- A user who may not trim is refused before anything is added, as repeating a settlement must not add a letter twice.
local max_dead_letters, max_dead_letter_bytes = 10000, 268435456

local function dead_letter_bytes(dead)
  local bytes = redis.pcall('MEMORY', 'USAGE', dead, 'SAMPLES', 0)
  return type(bytes) == 'number' and bytes or 0
end

local function add_dead_letter(dead, fields)
  local count = redis.call('XLEN', dead)
  local dropped = redis.call('XTRIM', dead, 'MAXLEN', max_dead_letters - 1)
  local id = redis.call('XADD', dead, '*', unpack(fields))
  local size = 0
  for _, part in ipairs(fields) do size = size + #part end
  local milliseconds, sequence = string.match(id, '(%d+)-(%d+)')
  if size < 1048576 and (milliseconds + sequence) % 16 > 0 then return dropped end
  local bytes = dead_letter_bytes(dead)
  count = count - dropped + 1
  while bytes > max_dead_letter_bytes and count > 1 do
    local kept = math.max(1, math.min(count - 1, math.floor(count * max_dead_letter_bytes / bytes)))
    dropped = dropped + redis.call('XTRIM', dead, 'MAXLEN', kept)
    bytes, count = dead_letter_bytes(dead), kept
  end
  return dropped
end
