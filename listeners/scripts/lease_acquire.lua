-- Acquires or renews a lease on the server's clock. KEYS: the lease, its epoch. ARGV: holder, time to live in ms.
-- Answers {1, epoch} for the holder, else {0, ms until it ends}.
local holder = redis.call('GET', KEYS[1])
if not holder then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return {1, redis.call('INCR', KEYS[2])}
end
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, tonumber(redis.call('GET', KEYS[2]) or 0)}
end
return {0, redis.call('PTTL', KEYS[1])}
