-- Register a combat: all of its players enter it, or none does.
-- KEYS: live session, result hash, active set, intents, messages sent, then one account
--       a player
-- ARGV: session id, participants (JSON), intent of the belts, then for each account the
--       character id and the team as JSON
-- Returns {started, 1 if the caller is to send a message for the belts, then mode and
--          character of each save that it is to send one for, ...},
--         {known, 1 if ... for the belts}, {running, the characters that are not in it ...},
--         {finished} or {busy, character id, its combat}.
local sid = ARGV[1]
local kind = redis.call('TYPE', KEYS[1]).ok
local status = kind == 'hash' and redis.call('HGET', KEYS[1], 'status')
if status == 'finished' or redis.pcall('HEXISTS', KEYS[2], 'sha256') == 1 then
    return {'finished'}
end

local accounts, busy = entering(sid, 6, 4)
if not accounts then return busy end

-- An engine may have let others in since, by either of the two.
local function strangers()
    local listed, absent = {}, {'running'}
    local participants = redis.call('HGET', KEYS[1], 'participants') or ''
    for id in string.gmatch(participants, '[^%[%]%s",]+') do listed[id] = true end
    for _, account in ipairs(accounts) do
        local id = account.char_id
        if not listed[id] and redis.call('HEXISTS', KEYS[1], 'actor:' .. id) == 0 then
            absent[#absent + 1] = id
        end
    end
    return absent
end
if status == 'active' then
    local absent = strangers()
    if #absent > 1 then return absent end
    return {'known', claim_message(KEYS[4], KEYS[5], ARGV[3])}
end

local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
-- A foreign type, or what is left of a start that was taken back.
if kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local reply = {'started', 0}
local session = {'status', 'active', 'participants', ARGV[2], 'heartbeat', now}
for _, account in ipairs(accounts) do
    enter(account, sid, KEYS[4], KEYS[5], reply)
    session[#session + 1] = 'actor:' .. account.char_id
    session[#session + 1] = container_of(account)
end
redis.call('HSET', KEYS[1], unpack(session))
redis.call('ZADD', KEYS[3], now, sid)
local _, to_send = note_intent(KEYS[4], KEYS[5], ARGV[3])
reply[2] = to_send
return reply
