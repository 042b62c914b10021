-- Extends leases. ARGV: lease in ms, then members. Returns the members that are no longer held.
local lost = {}
for page = 2, #ARGV, 500 do
  local last, leases = math.min(page + 499, #ARGV), {}
  for at = page, last do
    leases[#leases + 1] = now + ARGV[1]
    leases[#leases + 1] = ARGV[at]
  end
  -- CH counts the leases that changed. If it counts them all, all are held.
  if redis.call('ZADD', inflight, 'XX', 'CH', unpack(leases)) < last - page + 1 then
    for at = page, last do
      if not redis.call('ZSCORE', inflight, ARGV[at]) then lost[#lost + 1] = ARGV[at] end
    end
  end
end
return lost
