-- Returns the first score of a sorted set from ARGV[1] on, without its member, which may be a payload of any size.
return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
