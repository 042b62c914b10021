-- Acquires or renews a lease, which expires by the server's clock.
-- KEYS: the lease, its epoch, its draining key, its length. ARGV: holder, time to live in ms.
-- Returns {1, epoch} to the holder, else {0, ms until the lease ends, 1 if its holder drains, else 0}.
local holder = redis.call('GET', KEYS[1])
if not holder then
  -- The epoch comes first: if it is of the wrong type, the script fails before it has changed anything.
  local epoch = redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('SET', KEYS[4], ARGV[2])
  redis.call('DEL', KEYS[3])
  return {1, epoch}
end
local length = redis.call('GET', KEYS[4])
if holder == ARGV[1] then
  if length ~= ARGV[2] then redis.call('SET', KEYS[4], ARGV[2]) end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, tonumber(redis.call('GET', KEYS[2]) or 0)}
end
local left = redis.call('PTTL', KEYS[1])
if length and left > tonumber(length) then
  -- The clock has stepped back. The holder may live and not know, so the lease does not end at once.
  redis.call('PEXPIRE', KEYS[1], length)
  left = tonumber(length)
end
return {0, left, redis.call('GET', KEYS[3]) == holder and 1 or 0}
