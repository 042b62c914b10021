-- Moves one element in flight to the dead letters, unless a later delivery holds it.
-- KEYS[4]: the dead letters. ARGV: id, deliveries, maximum number of dead letters, then the dead letter's fields.
if not held(ARGV[1], ARGV[2]) then return 0 end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4))
forget(ARGV[1])
return 1
