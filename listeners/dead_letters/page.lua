-- Reads the descriptions of dead letters, newest first, without the entries, which may be of any size.
-- KEYS: dead letters. ARGV: newest ID, count, maximum length of a value, then the names of the fields.
-- Returns for each: ID, size in bytes, and the fields, alternating names and values.
local wanted = {}
for at = 4, #ARGV do wanted[ARGV[at]] = true end

local letters = redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[2])
for number, letter in ipairs(letters) do
  local size, description = 0, {}
  for at = 1, #letter[2], 2 do
    local name, value = letter[2][at], letter[2][at + 1]
    size = size + #name + #value
    if wanted[name] then
      wanted[name] = false
      description[#description + 1] = name
      description[#description + 1] = string.sub(value, 1, ARGV[3])
    end
  end
  for at = 1, #description, 2 do wanted[description[at]] = true end
  letters[number] = {letter[1], size, description}
end
return letters
