-- Functions that the other scripts share.

-- Processor time, or nil where scripts have no clock (before Redis 7.4).
local clock = rawget(_G, 'os') and os.clock

-- Runs a command. An error reply ends the script, and names the command that the user may have to be allowed.
local function call(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err then error({ err = reply.err .. ' (' .. command .. ')' }) end
  return reply
end

-- One group of a stream: {pending, last delivered ID, lag or nil, entries read or nil}; nil if there is none.
local function group(key, name)
  local groups = redis.pcall('XINFO', 'GROUPS', key)
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

-- The number of entries from one ID to another, up to `size`, and the ID of the last one. Without their payloads.
local function page(from, to, size)
  local entries = call('XRANGE', KEYS[1], from, to, 'COUNT', size)
  return { #entries, #entries > 0 and entries[#entries][1] }
end

-- Returns the results of a function, after the microseconds that it took or nil.
local function timed(run)
  local began = clock and clock()
  local succeeded, results = pcall(run)
  -- From Redis 7.0 on, pcall returns the text of an error.
  if not succeeded then return type(results) == 'table' and results or { err = results } end
  table.insert(results, 1, clock and (clock() - began) * 1000000 or false)
  return results
end
