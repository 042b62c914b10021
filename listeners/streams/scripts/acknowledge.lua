-- Acknowledges entries, unless another consumer has claimed them meanwhile.
-- KEYS: stream. ARGV: group, two consumers of this instance, 1 to delete the entries too, then their IDs.
for at = 5, #ARGV do
  local consumer = pending(ARGV[1], ARGV[at])
  if consumer == ARGV[2] or consumer == ARGV[3] then
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[at])
    if ARGV[4] == '1' then redis.call('XDEL', KEYS[1], ARGV[at]) end
  end
end
