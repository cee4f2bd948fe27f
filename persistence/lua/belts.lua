-- Put belts into the containers of a live combat, each only while it is what was read,
-- and wake whoever waits for them.
-- KEYS: live session, result hash, list to wake   ARGV: life of that list (s), then for
--       each container: its actor field, its text as read, its text to be
-- Returns {active | absent | over, the fields that were changed meanwhile}.
local found = {belt_session(KEYS[1], KEYS[2])}
if found[1] ~= 'active' then return found end
for i = 2, #ARGV, 3 do
    if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    else
        found[#found + 1] = ARGV[i]
    end
end
if #found == 1 then
    redis.pcall('RPUSH', KEYS[3], '1')
    redis.call('EXPIRE', KEYS[3], ARGV[1])
end
return found
