-- The Separator: close what the player has open, open the new mode, in one step.
-- KEYS: account, intents, messages sent
-- ARGV: character id, mode to enter ('idle' = none), session id for it,
--       1 = a session of that mode that is open already will do
-- Returns {switched | unchanged, session id ('' = none), closed mode, closed id,
--          1 if the caller is to send a message for it, ...},
--         {busy, the combat} or {foreign}.
local char_id, mode, sid = ARGV[1], ARGV[2], ARGV[3]
local values, form = account_get(KEYS[1], 'combat_session_id')
if not values then return {'foreign'} end
if values[1] and values[1] ~= '' then return {'busy', values[1]} end

if mode == 'idle' then
    local closed = close_sessions(KEYS[1], form, char_id, KEYS[2], KEYS[3])
    return {#closed > 0 and 'switched' or 'unchanged', '', unpack(closed)}
end
local field = mode .. '_session_id'
local open = account_get(KEYS[1], field)[1]
if open and open ~= '' and (ARGV[4] == '1' or open == sid) then sid = open end
local closed = close_sessions(KEYS[1], form, char_id, KEYS[2], KEYS[3], sid)
if open == sid then
    return {#closed > 0 and 'switched' or 'unchanged', sid, unpack(closed)}
end
account_set(KEYS[1], form, {field, sid})
if string.sub(mode, 1, 5) == 'game_' then
    local _, own = closable(KEYS[1])
    if not string.find(',' .. own .. ',', ',' .. mode .. ',', 1, true) then
        account_set(KEYS[1], form, {'own_modes', own == '' and mode or own .. ',' .. mode})
    end
end
return {'switched', sid, unpack(closed)}
