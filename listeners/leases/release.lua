-- Releases a lease if the caller holds it, and notifies the standbys.
-- KEYS: the lease, its epoch, its draining key, its length. ARGV: holder, time to live in ms (unused), channel for notices.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4])
redis.call('PUBLISH', ARGV[3], 'released ' .. (redis.call('GET', KEYS[2]) or '0') .. ' ' .. ARGV[1])
return 1
