-- Returns what is known of a stream (KEYS[1]) and of one of its groups, in a few bytes, whatever the stream holds.
--
-- ARGV: the group, and the size of the first pages of undelivered and delivered entries to count, or 0.
-- Reply: microseconds, length, group or nil, page of undelivered entries or nil, page of delivered entries or nil.
-- A group is {pending, last delivered ID, lag or nil, entries read or nil}, and a page {entries, ID of the last one}.

local function group(name)
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
  if groups.err then
    if string.find(groups.err, 'no such key', 1, true) then return false end
    error({ err = groups.err .. ' (XINFO GROUPS)' })
  end
  for _, flat in ipairs(groups) do
    if flat[2] == name then
      local fields = {}
      for at = 1, #flat, 2 do fields[flat[at]] = flat[at + 1] end
      return { fields.pending, fields['last-delivered-id'], fields.lag or false, fields['entries-read'] or false }
    end
  end
  return false
end

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
  local length, found, size = call('XLEN', KEYS[1]), group(ARGV[1]), ARGV[2]
  local undelivered, delivered = false, false
  if size ~= '0' and found and length > 0 then
    undelivered = page(next_id(found[2]), '+', size)
    if undelivered[1] > 0 then delivered = page('-', found[2], size) end
  end
  return { length, found, undelivered, delivered }
end)
