-- Let players into a combat that goes on: all of them enter it, or none does.
-- KEYS: live session, result hash, intents, messages sent, list to wake, then one account a
--       player
-- ARGV: session id, intent of the belts, then for each account the character id and the
--       team as JSON
-- Returns {joined, 1 if the caller is to send a message for the belts, then mode and
--          character of each save that it is to send one for, ...},
--         {known, 1 if ... for the belts} where all were in it, {absent}, {over} or
--         {busy, character id, its combat}.
local sid = ARGV[1]
local state = belt_session(KEYS[1], KEYS[2])
if state ~= 'active' then return {state} end
local accounts, busy = entering(sid, 6, 3)
if not accounts then return busy end

local reply, entered = {'joined', 0}, {}
for _, account in ipairs(accounts) do
    local id = account.char_id
    local is_there = redis.call('HEXISTS', KEYS[1], 'actor:' .. id) == 1
    local was_gone = redis.call('HDEL', KEYS[1], 'left:' .. id) == 1
    if not is_there then
        -- Until the engine is told, one who does not exist can be shown out again.
        redis.call('HSET', KEYS[1], 'actor:' .. id, container_of(account),
            'joining:' .. id, '1')
    end
    if not is_there or was_gone then
        enter(account, sid, KEYS[3], KEYS[4], reply)
        redis.call('HDEL', KEYS[1], 'belt:' .. id)
        entered[#entered + 1] = id
    end
end
if #entered == 0 then
    return {'known', claim_message(KEYS[3], KEYS[4], ARGV[2])}
end
local listed = redis.call('HGET', KEYS[1], 'participants')
redis.call('HSET', KEYS[1], 'participants', participants_with(listed, entered))
-- Of belts that were loaded before: this caller waits for others.
redis.call('DEL', KEYS[5])
local _, to_send = note_intent(KEYS[3], KEYS[4], ARGV[2])
reply[2] = to_send
return reply
