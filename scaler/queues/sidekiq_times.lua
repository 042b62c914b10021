-- Finds jobs of the queue ARGV[1] in a sorted set of scheduled jobs of all queues. Returns how many of them are due at
-- ARGV[2], the time of the next one or '', and whether the due ones are all. At most ARGV[3] jobs of each are looked at.
local function is_of_queue(payload)
    local readable, job = pcall(cjson.decode, payload)
    return not readable or type(job) ~= 'table' or job['queue'] == ARGV[1] or job['queue'] == nil
end
local limit = tonumber(ARGV[3])
local jobs = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[2], 'LIMIT', 0, limit)
local due, next_score = 0, ''
for _, payload in ipairs(jobs) do
    if is_of_queue(payload) then
        due = due + 1
    end
end
local later = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
for index = 1, #later, 2 do
    if is_of_queue(later[index]) then
        next_score = later[index + 1]
        break
    end
end
if next_score == '' and #later == 2 * limit then
    next_score = later[#later]
end
return {due, next_score, #jobs < limit and 1 or 0}
