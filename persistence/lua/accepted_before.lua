-- While settlement drains: what was accepted before a moment is to be claimed, whatever
-- its due time has become since; a lease that is held is left alone.
-- KEYS: inbox   ARGV: the moment (ms), result key prefix
-- Returns 0 only where no entry was accepted before it, leased and waiting ones included.
local moment = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local count = redis.call('ZCOUNT', KEYS[1], '-inf', moment)
-- While these are to be claimed nobody looks behind the moment: what has come since
-- may be a hundred thousand entries, and this is asked before every claim.
if count > 0 then return count end
local later = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. moment, '+inf', 'WITHSCORES')
for at = 1, #later, 2 do
    local accepted = redis.pcall('HGET', ARGV[2] .. later[at], 'accepted_at')
    -- Nil of foreign text, which accepts nothing.
    accepted = type(accepted) == 'string' and tonumber(accepted)
    if accepted and accepted <= moment then
        count = count + 1
        -- claim.lua looks no further than the moment while settlement drains.
        if tonumber(later[at + 1]) <= now then
            redis.call('ZADD', KEYS[1], 'XX', moment, later[at])
        end
    end
end
return count
