-- Marks the holder as draining: an instance that is already subscribed may now take over the lease.
-- KEYS: the lease, its epoch, its draining key, its length (unused). ARGV: holder, time to live in ms, channel for notices.
-- Returns how many listen for notices on this server, the holder included, or -1 if the caller does not hold the lease.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], 'draining ' .. (redis.call('GET', KEYS[2]) or '0') .. ' ' .. ARGV[1])
return redis.call('PUBSUB', 'NUMSUB', ARGV[3])[2]
