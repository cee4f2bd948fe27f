-- Remove the hashes of sessions that are saved and closed. One that went on meanwhile, or
-- that the player entered again, is left.
-- KEYS: account, then the hashes   ARGV: session id and saved version of each
-- Returns 1, or 0 where one went on and is to be saved again.
local values = account_get(KEYS[1], 'scenario_session_id')
local open = values and values[1]
local is_done = 1
for i = 2, #KEYS do
    local sid, saved = ARGV[i * 2 - 3], ARGV[i * 2 - 2]
    local version = redis.pcall('HGET', KEYS[i], 'version')
    if sid ~= open and version == saved then
        redis.call('DEL', KEYS[i])
    elseif sid ~= open and type(version) == 'string' then
        is_done = 0
    end
end
return is_done
