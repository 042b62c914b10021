-- Returns what is known of a stream (KEYS[1]) and of one of its groups, in a few bytes, whatever the stream holds.
--
-- ARGV: the group, and the size of the first pages of undelivered and delivered entries to count, or 0.
-- Reply: microseconds, length, group or nil, page of undelivered entries or nil, page of delivered entries or nil.
-- A page is {entries, ID of the last one}.

-- Numbers of Lua are exact up to 2^53; IDs go up to 2^64.
local function increment(digits)
  local head, tail = string.sub(digits, 1, -10), string.sub(digits, -9) + 1
  if tail < 1000000000 then return head .. (head == '' and tail or string.format('%09d', tail)) end
  return (head == '' and '1' or increment(head)) .. '000000000'
end

-- Before Redis 6.2 a range cannot exclude its start.
local function next_id(id)
  local milliseconds, sequence = string.match(id, '(%d+)-(%d+)')
  if sequence == '18446744073709551615' then return increment(milliseconds) .. '-0' end
  return milliseconds .. '-' .. increment(sequence)
end

return timed(function()
  local length, found, size = call('XLEN', KEYS[1]), group(KEYS[1], ARGV[1]), ARGV[2]
  local undelivered, delivered = false, false
  if size ~= '0' and found and length > 0 then
    undelivered = page(next_id(found[2]), '+', size)
    if undelivered[1] > 0 then delivered = page('-', found[2], size) end
  end
  return { length, found, undelivered, delivered }
end)
