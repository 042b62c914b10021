-- Moves an entry that this instance holds to the dead letters. One that is gone from the stream need not be pending.
-- KEYS: stream, dead letters. ARGV: group, two consumers of this instance, entry ID, 1 to delete the entry too, 1 if it
-- is known to be gone, then the fields of the dead letter. Returns how many older dead letters were dropped.
local consumer = pending(ARGV[1], ARGV[4])
local held = consumer == ARGV[2] or consumer == ARGV[3]
if not held and ARGV[6] ~= '1' then return 0 end
local fields = {}
for at = 7, #ARGV do fields[#fields + 1] = ARGV[at] end
local dropped = add_dead_letter(KEYS[2], fields)
if held then
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[4])
  if ARGV[5] == '1' then redis.call('XDEL', KEYS[1], ARGV[4]) end
end
return dropped
