-- Put belts into the containers of a live combat, each only while it is what was read, say
-- of each belt that it is loaded, and wake whoever waits.
-- KEYS: live session, result hash, list to wake
-- ARGV: life of that list (s), then for each player: character id, what is said of the
--       belt, the container's text as read and its text to be ('' = left as it is)
-- Returns {active | absent | over, the players whose containers were changed meanwhile}.
local found = {belt_session(KEYS[1], KEYS[2])}
if found[1] ~= 'active' then return found end
for i = 2, #ARGV, 4 do
    local id, after = ARGV[i], ARGV[i + 3]
    local actor = 'actor:' .. id
    if after ~= '' and redis.call('HGET', KEYS[1], actor) ~= ARGV[i + 2] then
        found[#found + 1] = id
    elseif redis.call('HEXISTS', KEYS[1], 'left:' .. id) == 0 then
        if after ~= '' then redis.call('HSET', KEYS[1], actor, after) end
        redis.call('HSET', KEYS[1], 'belt:' .. id, ARGV[i + 1])
    end
end
if #found == 1 then
    redis.pcall('RPUSH', KEYS[3], '1')
    redis.call('EXPIRE', KEYS[3], ARGV[1])
end
return found
