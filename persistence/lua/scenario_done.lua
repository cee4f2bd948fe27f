-- Remove the hashes of sessions that are saved and closed. One that went on meanwhile, or
-- that the player entered again, is left.
-- KEYS: account, then the hashes   ARGV: session id and saved version of each
-- Returns how many were removed.
local values = account_get(KEYS[1], 'scenario_session_id')
local open = values and values[1]
local removed = 0
for i = 2, #KEYS do
    local sid, version = ARGV[i * 2 - 3], ARGV[i * 2 - 2]
    if sid ~= open and redis.pcall('HGET', KEYS[i], 'version') == version then
        removed = removed + redis.call('DEL', KEYS[i])
    end
end
return removed
