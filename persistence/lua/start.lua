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

-- As the container's model takes it, or the whole container would not be readable.
local MAX_VITAL = 1000000000
local function vital(value)
    local points = tonumber(string.match(value or '', '^%d+$'))
    return points and points <= MAX_VITAL and string.format('%d', points) or 'null'
end

-- All are looked at before any is written: Redis takes back no half of a start.
local accounts = {}
for i = 6, #KEYS do
    local char_id = ARGV[4 + (i - 6) * 2]
    local values, form = account_get(KEYS[i], 'combat_session_id', 'hp', 'energy')
    values = values or {}
    local fights_in = values[1]
    if fights_in and fights_in ~= '' and fights_in ~= sid then
        return {'busy', char_id, fights_in}
    end
    accounts[#accounts + 1] = {
        key = KEYS[i], form = form, char_id = char_id, team = ARGV[5 + (i - 6) * 2],
        hp = vital(values[2]), energy = vital(values[3]),
    }
end

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
    if account.form then
        local closed = close_sessions(account.key, account.form, account.char_id, KEYS[4],
            KEYS[5])
        for j = 1, #closed, 3 do
            if closed[j + 2] == 1 then
                reply[#reply + 1], reply[#reply + 2] = closed[j], account.char_id
            end
        end
        account_set(account.key, account.form, {'combat_session_id', sid})
    end
    session[#session + 1] = 'actor:' .. account.char_id
    -- Not by cjson, which writes an empty list as an object.
    session[#session + 1] = '{"team":' .. account.team .. ',"hp":' .. account.hp
        .. ',"energy":' .. account.energy .. ',"belt_items":[],"consumed":[]}'
end
redis.call('HSET', KEYS[1], unpack(session))
redis.call('ZADD', KEYS[3], now, sid)
local _, to_send = note_intent(KEYS[4], KEYS[5], ARGV[3])
reply[2] = to_send
return reply
