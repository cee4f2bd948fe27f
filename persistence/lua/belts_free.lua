-- Note how many pieces of what is on a player's belt lie elsewhere in the inventory, unless
-- something that PostgreSQL has not seen yet may change it, or it is noted already.
-- KEYS: live session, inbox, then account and operations of each player
-- ARGV: for each player: JSON {field: pieces}
-- Returns how many players' were noted.
local noted = 0
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return noted end
for i = 3, #KEYS, 2 do
    local account = account_get(KEYS[i], 'last_combat_session_id')
    local last = account and account[1]
    -- Its settlement may take pieces still, and what is queued may add or take some.
    local is_settling = last and last ~= '' and redis.call('ZSCORE', KEYS[2], last)
    if not is_settling and redis.call('EXISTS', KEYS[i + 1]) == 0 then
        for field, pieces in pairs(cjson.decode(ARGV[(i - 1) / 2])) do
            redis.call('HSETNX', KEYS[1], field, string.format('%d', pieces))
        end
        noted = noted + 1
    end
end
return noted
