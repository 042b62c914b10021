-- Scans a part of dramatiq's delayed messages. Returns the next cursor, and the time in ms at which each is due, as text,
-- or '' if it cannot be read. Payloads do not leave the server.
local scanned = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local times = {}
for index = 2, #scanned[2], 2 do
    local readable, message = pcall(cjson.decode, scanned[2][index])
    local options = readable and type(message) == 'table' and message['options']
    local eta = type(options) == 'table' and options['eta']
    times[#times + 1] = type(eta) == 'number' and string.format('%.0f', eta) or ''
end
return {scanned[1], times}
