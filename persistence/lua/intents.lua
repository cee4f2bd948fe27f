-- Included by scripts that ask for a save. Two notes of one member never carry the same
-- time, so that whoever saw the first cannot strike out the second.
local function note_intent(intents, member)
    local time = redis.call('TIME')
    local now = time[1] * 1000000 + time[2]
    local noted = tonumber(redis.call('ZSCORE', intents, member) or '0')
    noted = string.format('%d', math.max(now, noted + 1))
    redis.call('ZADD', intents, noted, member)
    return noted
end
