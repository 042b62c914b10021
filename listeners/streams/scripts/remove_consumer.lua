-- Deletes a consumer only if it holds no entry, in one step: deleting it would discard its pending entries.
-- KEYS: stream. ARGV: group, consumer. Returns 0 if it was deleted, 1 if it holds an entry.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #pending == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
return #pending
