-- An account leaves a combat that is over, unless it has entered another one since.
-- KEYS: account   ARGV: session id
-- Returns 1 if it did.
local values, form = account_get(KEYS[1], 'combat_session_id')
if not values or values[1] ~= ARGV[1] then return 0 end
account_clear(KEYS[1], form, 'combat_session_id')
return 1
