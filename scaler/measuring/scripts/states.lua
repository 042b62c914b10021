-- Returns what is known of several streams (KEYS), each with one of its groups (ARGV), without reading entries.
--
-- Reply: microseconds, and for each stream {length, group or nil}, a group as in shared.lua.

return timed(function()
  local states = {}
  for at, key in ipairs(KEYS) do states[at] = { call('XLEN', key), group(key, ARGV[at]) } end
  return states
end)
