-- Included by the scripts that let players into a combat.

-- As the container's model takes it, or the whole container would not be readable.
local MAX_VITAL = 1000000000
local function vital(value)
    local points = tonumber(string.match(value or '', '^%d+$'))
    return points and points <= MAX_VITAL and string.format('%d', points) or 'null'
end

-- The accounts behind KEYS[first], ..., with character id and team behind ARGV[first_arg].
-- All are looked at before any is written: Redis takes back no half of a start.
-- Returns them, or nil and who fights elsewhere: {busy, character id, its combat}.
local function entering(sid, first, first_arg)
    local accounts = {}
    for i = first, #KEYS do
        local char_id = ARGV[first_arg + (i - first) * 2]
        local values, form = account_get(KEYS[i], 'combat_session_id', 'hp', 'energy')
        values = values or {}
        local fights_in = values[1]
        if fights_in and fights_in ~= '' and fights_in ~= sid then
            return nil, {'busy', char_id, fights_in}
        end
        accounts[#accounts + 1] = {
            key = KEYS[i], form = form, char_id = char_id,
            team = ARGV[first_arg + 1 + (i - first) * 2],
            hp = vital(values[2]), energy = vital(values[3]),
        }
    end
    return accounts
end

-- Closes what the player has open; appends mode and character of each save that the caller
-- is to send a message for to `reply`.
local function enter(account, sid, intents, sent, reply)
    if not account.form then return end
    local closed = close_sessions(account.key, account.form, account.char_id, intents, sent)
    for i = 1, #closed, 3 do
        if closed[i + 2] == 1 then
            reply[#reply + 1], reply[#reply + 2] = closed[i], account.char_id
        end
    end
    account_set(account.key, account.form, {'combat_session_id', sid})
end

-- Not by cjson, which writes an empty list as an object.
local function container_of(account)
    return '{"team":' .. account.team .. ',"hp":' .. account.hp
        .. ',"energy":' .. account.energy .. ',"belt_items":[],"consumed":[]}'
end
