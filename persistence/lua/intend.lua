-- Note that something is to be saved, or learn since when it is.
-- KEYS: intents   ARGV: member, 'again' = noted anew, 'known' = an older note stands
-- Returns the note's time (us). Two notes never carry the same.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local noted = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0')
if ARGV[2] == 'again' or noted == 0 then
    noted = math.max(now, noted + 1)
    redis.call('ZADD', KEYS[1], string.format('%d', noted), ARGV[1])
end
return string.format('%d', noted)
