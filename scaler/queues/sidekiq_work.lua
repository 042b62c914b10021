-- Returns how many jobs of the queue ARGV[1] the processes in the set KEYS[1] run. ARGV[2] is what all keys begin with.
-- With ARGV[3] = 1, they are in lists of the processes. At most ARGV[4] processes are looked at.
local running = 0
for _, process in ipairs(redis.call('SRANDMEMBER', KEYS[1], ARGV[4])) do
    if ARGV[3] == '1' then
        running = running + redis.call('LLEN', ARGV[2] .. 'queue:sq|' .. process .. '|' .. ARGV[1])
    else
        for _, name in ipairs({':work', ':workers'}) do  -- the latter in older releases, such as 6.4
            for _, work in ipairs(redis.call('HVALS', ARGV[2] .. process .. name)) do
                if string.match(work, '"queue": ?"([^"]*)"') == ARGV[1] then
                    running = running + 1
                end
            end
        end
    end
end
return running
