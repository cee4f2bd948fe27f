-- Strike a note out, unless it was made anew since.
-- KEYS: intents   ARGV: member, the time that was seen (us)
-- Returns 1 if it is gone.
local noted = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not noted then return 1 end
if tonumber(noted) ~= tonumber(ARGV[2]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
