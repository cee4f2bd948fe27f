-- Strike a note out, unless it was made anew since.
-- KEYS: intents, messages sent   ARGV: member, the time that was seen (us)
-- Returns 1 if it is gone.
local noted = redis.call('ZSCORE', KEYS[1], ARGV[1])
if noted and tonumber(noted) ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
