-- Puts the entry of one dead letter back into its list or stream, if the dead letter still exists.
-- KEYS: dead letters, list or stream. ARGV: dead letter ID, command, then at most 2,100 arguments after the key.
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return 0 end
redis.call(ARGV[2], KEYS[2], unpack(ARGV, 3))
return redis.call('XDEL', KEYS[1], ARGV[1])
