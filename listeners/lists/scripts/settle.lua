-- Settles elements, except those that are no longer held.
-- ARGV: the number of elements that are done, and their members; then member, new member, and delay in ms for each that
-- becomes available again. Without a delay ('') it becomes a suspect.
local done = {}
for at = 1, tonumber(ARGV[1]) do done[at] = ARGV[at + 1] end
local refusal = forget(done)
if refusal then return refusal end

if #ARGV > #done + 1 then check_removals() end
for at = #done + 2, #ARGV, 3 do
  local member, new_member, delay = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  if redis.call('ZSCORE', inflight, member) then replace(member, new_member, delay and now + delay or 0) end
end
