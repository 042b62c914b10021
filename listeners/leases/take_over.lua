-- Takes over a lease that is free or whose holder drains, and publishes the marker in the same step. The old holder
-- handles what was published before the marker, the new one what is published after it.
-- KEYS: the lease, its epoch, its draining key, its length. ARGV: successor, time to live in ms, channel for notices.
-- Returns {1, epoch}, or {0} if another instance was faster.
local holder = redis.call('GET', KEYS[1])
if holder and redis.call('GET', KEYS[3]) ~= holder then return {0} end
local epoch = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[4], ARGV[2])
redis.call('DEL', KEYS[3])
redis.call('PUBLISH', ARGV[3], string.format('taken %.0f %s', epoch, ARGV[1]))
return {1, epoch}
