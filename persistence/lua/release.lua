-- Put leased entries back for later, each only while its lease is ours.
-- KEYS: inbox   ARGV: result prefix, delay (ms), 1 = this delivery does not count,
--       then session id and lease of each entry
-- Returns nothing.
local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2])
for at = 4, #ARGV, 2 do
    local score = redis.call('ZSCORE', KEYS[1], ARGV[at])
    if score and tonumber(score) == tonumber(ARGV[at + 1]) then
        redis.call('ZADD', KEYS[1], 'XX', string.format('%d', due), ARGV[at])
        if ARGV[3] == '1' then
            redis.call('HINCRBY', ARGV[1] .. ARGV[at], 'claims', -1)
        end
    end
end
