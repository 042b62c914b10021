-- Scans a part of the messages that Celery's workers hold, and counts them by exchange and routing key, which are the
-- last two texts of each value. Returns the next cursor, how many values were read, and for each end of a value how
-- often it was found; '' stands for values that end otherwise.
local scanned = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local counts, order = {}, {}
for index = 2, #scanned[2], 2 do
    local ending = string.sub(scanned[2][index], -600)
    local exchange, routing_key = string.match(ending, '"([^"\\]*)", ?"([^"\\]*)"%]$')
    local name = exchange and (exchange .. '\n' .. routing_key) or ''
    if not counts[name] then
        if #order >= 500 then
            name = ''
        end
        if not counts[name] then
            counts[name] = 0
            order[#order + 1] = name
        end
    end
    counts[name] = counts[name] + 1
end
local found = {}
for _, name in ipairs(order) do
    found[#found + 1] = name
    found[#found + 1] = counts[name]
end
return {scanned[1], #scanned[2] / 2, found}
