-- The containers of a live session, and whether its belts are still to come. From now on
-- the engine counts on the session: it is not taken back any more.
-- KEYS: live session, intents   ARGV: intent of the belts, actor fields
-- Returns {1 if the belts are not loaded yet, why it was refused (`take_back.lua`), nil if
--          it was not, container, ...}, nil where there is none.
local reply = {redis.call('ZSCORE', KEYS[2], ARGV[1]) and 1 or 0, false}
local found = redis.pcall('HMGET', KEYS[1], 'status', 'refused', unpack(ARGV, 2))
if found.err then
    for i = 2, #ARGV do reply[i + 1] = false end
    return reply
end
if found[1] == 'active' then redis.call('HSET', KEYS[1], 'begun', '1') end
for i = 2, #found do reply[i] = found[i] end
return reply
