-- Marks the holder as draining: whoever is subscribed already may take the lease over now.
-- KEYS: the lease, its epoch, the mark. ARGV: holder, time to live in ms, channel for notices.
-- Answers how many listen to the notices on this server, the holder included, or -1 if the lease is not the caller's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], 'draining ' .. (redis.call('GET', KEYS[2]) or '0') .. ' ' .. ARGV[1])
return redis.call('PUBSUB', 'NUMSUB', ARGV[3])[2]
