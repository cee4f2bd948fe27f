-- A player leaves a combat that goes on: free for another one, and what he has used up
-- stays in his container for the document.
-- KEYS: live session, result hash, intents, messages sent, account
-- ARGV: session id, intent of the belts, character id
-- Returns {left, 1 if the caller is to send a message for the belts}, {absent}, {over} or
--         {no_fighter}.
local sid, char_id = ARGV[1], ARGV[3]
local state = belt_session(KEYS[1], KEYS[2])
if state ~= 'active' then return {state} end
local actor = 'actor:' .. char_id
local text = redis.call('HGET', KEYS[1], actor)
if not text then return {'no_fighter'} end
if redis.call('HEXISTS', KEYS[1], 'left:' .. char_id) == 1 then
    return {'left', claim_message(KEYS[3], KEYS[4], ARGV[2])}
end

-- A belt that is loaded anew, should he come back, is what he has not used.
local from = object_in(text)
local belt = from and member(text, from, 'belt_items')
if belt then text = edited(text, {{belt.first, belt.last, '[]'}}) end
local listed = redis.call('HMGET', KEYS[1], 'participants', 'leavers')
redis.call('HSET', KEYS[1], actor, text, 'left:' .. char_id, redis.call('TIME')[1],
    'participants', participants_without(listed[1], char_id),
    -- Whoever has fought belongs to the roster, though he is in the fight no more.
    'leavers', participants_with(listed[2], {char_id}))
redis.call('HDEL', KEYS[1], 'belt:' .. char_id, 'joining:' .. char_id)
local values, form = account_get(KEYS[5], 'combat_session_id')
if values and values[1] == sid then account_clear(KEYS[5], form, 'combat_session_id') end
local _, to_send = note_intent(KEYS[3], KEYS[4], ARGV[2])
return {'left', to_send}
