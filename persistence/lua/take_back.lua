-- Take a start back: of characters that do not exist, or of a combat that is settled.
-- KEYS: live session, result hash, active set, list to wake, then each player's account
-- ARGV: session id, the unknown characters (JSON; '[]': it is settled), life of what is
--       left of the session (s), life of that list (s)
-- Returns absent | active | over. Active: the engine has been told that it began; of
-- unknown characters it is only marked then.
local found = belt_session(KEYS[1], KEYS[2])
if found ~= 'active' then return found end
redis.call('HSET', KEYS[1], 'refused', ARGV[2])
if ARGV[2] ~= '[]' and redis.call('HEXISTS', KEYS[1], 'begun') == 1 then
    return 'active'
end
redis.call('HSET', KEYS[1], 'status', 'refused')
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[1])
for i = 5, #KEYS do
    local values, form = account_get(KEYS[i], 'combat_session_id')
    if values and values[1] == ARGV[1] then
        account_clear(KEYS[i], form, 'combat_session_id')
    end
end
redis.pcall('RPUSH', KEYS[4], '1')
redis.call('EXPIRE', KEYS[4], ARGV[4])
return 'over'
