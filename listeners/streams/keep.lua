-- Claims entries again for the consumer that still holds them. Entries that it has lost meanwhile are left alone.
-- KEYS: stream. ARGV: group, consumer, number of options, the options of XCLAIM, then entry IDs.
-- Returns the IDs that were claimed.
local options = tonumber(ARGV[3])
local own = {}
for at = 4 + options, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1, ARGV[2]) > 0 then own[#own + 1] = ARGV[at] end
end
if #own == 0 then return own end
local command = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}
for _, id in ipairs(own) do command[#command + 1] = id end
for at = 4, 3 + options do command[#command + 1] = ARGV[at] end
command[#command + 1] = 'JUSTID'
return redis.call(unpack(command))
