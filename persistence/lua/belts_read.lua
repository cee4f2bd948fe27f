-- KEYS: live session, result hash   ARGV: actor fields
-- Returns {active | absent | over, participants (JSON), then each actor's container, nil
--          where there is none}.
local found = {belt_session(KEYS[1], KEYS[2])}
if found[1] ~= 'active' then return found end
found[2] = redis.call('HGET', KEYS[1], 'participants')
for i, field in ipairs(ARGV) do
    found[i + 2] = redis.call('HGET', KEYS[1], field)
end
return found
