-- The containers of a live session, and whether its belts are still to come.
-- KEYS: live session, intents   ARGV: intent of the belts, actor fields
-- Returns {1 if the belts are not loaded yet, container, ...}, nil where there is none.
local reply = {redis.call('ZSCORE', KEYS[2], ARGV[1]) and 1 or 0}
local found = redis.pcall('HMGET', KEYS[1], unpack(ARGV, 2))
for i = 2, #ARGV do reply[i] = not found.err and found[i - 1] end
return reply
