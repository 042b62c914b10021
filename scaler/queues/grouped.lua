-- Returns how many tasks the groups of an asynq queue have: KEYS[1] is the set of the groups, and the tasks of each are
-- in the sorted set whose name begins with ARGV[1], in the same slot. At most ARGV[2] groups are counted.
local tasks = 0
for _, group in ipairs(redis.call('SRANDMEMBER', KEYS[1], ARGV[2])) do
    tasks = tasks + redis.call('ZCARD', ARGV[1] .. group)
end
return tasks
