-- Deletes a consumer only if it holds nothing, in one step: deleting it drops what is pending with it.
-- KEYS: stream. ARGV: group, consumer. Answers how many entries it holds.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #pending == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
return #pending
