-- The containers of a live session, and what became of their belts. From now on the engine
-- counts on the session and on these players: neither is taken back any more.
-- KEYS: live session, intents   ARGV: intent of the belts, character ids
-- Returns {1 if the belts are not loaded yet, why the start was refused (`take_back.lua`),
--          nil if it was not, then of each player the container and what is said of the
--          belt (`redis_keys.belt_field`) ...}, nil where there is none.
local reply = {redis.call('ZSCORE', KEYS[2], ARGV[1]) and 1 or 0, false}
local fields = {'status', 'refused'}
for i = 2, #ARGV do
    fields[#fields + 1] = 'actor:' .. ARGV[i]
    fields[#fields + 1] = 'belt:' .. ARGV[i]
end
local found = redis.pcall('HMGET', KEYS[1], unpack(fields))
if found.err then
    for i = 3, #fields do reply[i] = false end
    return reply
end
if found[1] == 'active' then
    redis.call('HSET', KEYS[1], 'begun', '1')
    for i = 2, #ARGV do
        if found[i * 2 - 1] then redis.call('HDEL', KEYS[1], 'joining:' .. ARGV[i]) end
    end
end
for i = 2, #fields do reply[i] = found[i] end
return reply
