-- Takes a lease over from a holder that drains (or from nobody), and publishes the marker in the same step: what was
-- published before it is the old holder's, what is published after it the new one's.
-- KEYS: the lease, its epoch, the mark. ARGV: successor, time to live in ms, channel for notices.
-- Answers {1, epoch}, or {0} if somebody else was quicker.
local holder = redis.call('GET', KEYS[1])
if holder and redis.call('GET', KEYS[3]) ~= holder then return {0} end
local epoch = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[3])
redis.call('PUBLISH', ARGV[3], string.format('taken %.0f %s', epoch, ARGV[1]))
return {1, epoch}
