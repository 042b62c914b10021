-- Acquires or renews a lease, which expires by the server's clock.
-- KEYS: the lease, its epoch, its draining key. ARGV: holder, time to live in ms.
-- Returns {1, epoch} to the holder, else {0, ms until the lease ends, 1 if its holder drains, else 0}.
local holder = redis.call('GET', KEYS[1])
if not holder then
  -- The epoch comes first: if it is of the wrong type, the script fails before it has changed anything.
  local epoch = redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('DEL', KEYS[3])
  return {1, epoch}
end
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, tonumber(redis.call('GET', KEYS[2]) or 0)}
end
return {0, redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[3]) == holder and 1 or 0}
