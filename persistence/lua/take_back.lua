-- Take a start back: of characters that do not exist, or of a combat that is settled.
-- KEYS: live session, result hash, active set, list to wake, then each player's account
-- ARGV: session id, the unknown characters (JSON; '[]': it is settled), life of what is
--       left of the session (s), life of that list (s), then each player's character id
-- Returns absent | active | over. Active: the engine has been told that it began; of
-- unknown characters those who were joining are shown out then, others only marked.
local found = belt_session(KEYS[1], KEYS[2])
if found ~= 'active' then return found end

local function free(account)
    local values, form = account_get(account, 'combat_session_id')
    if values and values[1] == ARGV[1] then
        account_clear(account, form, 'combat_session_id')
    end
end

local function show_out(account, id)
    local listed = redis.call('HGET', KEYS[1], 'participants')
    redis.call('HDEL', KEYS[1], 'actor:' .. id)
    redis.call('HSET', KEYS[1], 'belt:' .. id, 'null',
        'participants', participants_without(listed, id))
    free(account)
end

if ARGV[2] ~= '[]' and redis.call('HEXISTS', KEYS[1], 'begun') == 1 then
    local is_unknown, stay = {}, {}
    for id in string.gmatch(ARGV[2], '%d+') do is_unknown[id] = true end
    for i = 5, #KEYS do
        local id = ARGV[i]
        if is_unknown[id] and redis.call('HDEL', KEYS[1], 'joining:' .. id) == 1 then
            show_out(KEYS[i], id)
        elseif is_unknown[id] then
            stay[#stay + 1] = id
        end
    end
    if #stay > 0 then
        redis.call('HSET', KEYS[1], 'refused', '[' .. table.concat(stay, ', ') .. ']')
    end
    return 'active'
end
redis.call('HSET', KEYS[1], 'refused', ARGV[2], 'status', 'refused')
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[1])
for i = 5, #KEYS do free(KEYS[i]) end
redis.pcall('RPUSH', KEYS[4], '1')
redis.call('EXPIRE', KEYS[4], ARGV[4])
return 'over'
