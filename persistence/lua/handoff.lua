-- The one door and the one arbiter: record a combat result, or find that it is known.
-- One script: an engine that died between two steps would leave a document that nobody is
-- to settle, or players in a fight that is over.
-- KEYS: result hash, inbox, live session, active set, doorbell, lingerer, wake, then one
--       account a player
-- ARGV: session id, raw, sha256, finished_at (s), session TTL (s), doorbell TTL (ms),
--       conflicts held at most, '' or, of a forced save, the moment (ms) since when the
--       combat must have been silent, 1 where a fight that ends in the future is not
--       recorded, the SHA-256 that older versions knew the document by, the signature or
--       '', of a document that was made of what `roster.lua` told its digest or '', and the
--       mark of the outcome or '', then hp and energy of each account ('' = none)
-- Returns {accepted | duplicate | conflict | refused | future | moved, 1 if the caller is to
--          ring}. Moved: the fight went on, or a document of that outcome stands already.
local sid, raw, sha, finished_at = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
local finished_ms = finished_at * 1000
local HEARD_WITHIN_MS, WAKE_TTL_MS = 200, 5000

-- A drain that waits is woken without a message, unless it has not heard an earlier one in
-- time: then it is at work, or dead. A foreign type there is no drain.
local function wake()
    if redis.call('EXISTS', KEYS[6]) == 0 then return false end
    local unheard = redis.pcall('LINDEX', KEYS[7], 0)
    if unheard then
        local since = tonumber(unheard)
        return since and tonumber(now) - since < HEARD_WITHIN_MS
    end
    redis.call('LPUSH', KEYS[7], now)
    redis.call('PEXPIRE', KEYS[7], WAKE_TTL_MS)
    return true
end

local function ring()
    if wake() then return 0 end
    return redis.call('SET', KEYS[5], '1', 'NX', 'PX', ARGV[6]) and 1 or 0
end

local function conflicts_held()
    local held = 0
    for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
        if string.sub(name, 1, 9) == 'conflict:' then held = held + 1 end
    end
    return held
end

-- Only a worker can tell which signature is good. Another one is therefore kept with the
-- bytes that it is of: whoever comes first with a bad one keeps nobody out.
local function keep_beside()
    local name = 'conflict:' .. sha
    if ARGV[11] ~= '' then name = name .. ':' .. ARGV[11] end
    if redis.call('HEXISTS', KEYS[1], name) == 1 then return true end
    if conflicts_held() >= tonumber(ARGV[7]) then return false end
    redis.call('HSET', KEYS[1], name, raw)
    return true
end

-- Of the bytes in `raw`, and of no others.
local function sign()
    redis.call('HDEL', KEYS[1], 'signature')
    if ARGV[11] ~= '' then redis.call('HSET', KEYS[1], 'signature', ARGV[11]) end
end

local function newer(last_finished, last_sid)
    local last = any_unit_ms(last_finished, tonumber(now))
    if finished_ms ~= last then return finished_ms > last end
    return sid > (last_sid or '')
end

local is_future = finished_ms > tonumber(now) + MAX_AHEAD_MS

-- One that cannot be, or lies in the future, would refuse every later snapshot.
local function milliseconds(value)
    local moment = tonumber(string.match(value or '', '^%d+$')) or 0
    return moment <= tonumber(now) + MAX_AHEAD_MS and moment or 0
end

-- A foreign type is left alone: it must never refuse a hand-off.
local function snapshot(account, hp, energy)
    local known, form = account_get(account, 'combat_session_id',
        'last_combat_finished_at', 'last_combat_session_id', 'vitals_at')
    if not known then return end
    local own = known[1] == sid
    local idle = not known[1] or known[1] == ''
    local is_newer = newer(known[2], known[3])
    -- In another fight by now, or back from a later one: this one's vitals are old.
    if not own and not (idle and is_newer) then return end
    if own then account_clear(account, form, 'combat_session_id') end
    local fields = {}
    if is_newer then
        fields = {'last_combat_session_id', sid, 'last_combat_finished_at', ARGV[4]}
    end
    -- Outside of this fight the player may have been healed since it ended.
    local vitals_at = milliseconds(known[4])
    if hp ~= '' and (own or finished_ms >= vitals_at) then
        vitals_at = string.format('%d', math.max(finished_ms, vitals_at))
        for _, value in ipairs({'hp', hp, 'energy', energy, 'vitals_at', vitals_at}) do
            fields[#fields + 1] = value
        end
    end
    account_set(account, form, fields)
end

-- Whatever foreign thing sits at the result's key is put aside: it refuses nothing.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then
    redis.call('RENAME', KEYS[1], KEYS[1] .. ':foreign')
end

local known = redis.call('HGET', KEYS[1], 'sha256')

-- A forced save yields to the real result, and to a combat that is heard of again.
local function is_abandoned()
    if known or redis.call('TYPE', KEYS[3]).ok ~= 'hash' then return false end
    local live = redis.call('HMGET', KEYS[3], 'status', 'heartbeat')
    return live[1] == 'active' and any_unit_ms(live[2], tonumber(now)) < tonumber(ARGV[8])
end

if ARGV[8] ~= '' and not is_abandoned() then return {'refused', 0} end

-- Of a document that was made a moment ago, what it was made of must still be so.
local function has_moved()
    if ARGV[12] == '' then return false end
    if known then return redis.call('HGET', KEYS[1], 'outcome') == ARGV[13] end
    local _, digest = roster_of(KEYS[3])
    return digest ~= ARGV[12]
end

if has_moved() then return {'moved', 0} end
if known and known ~= sha and known ~= ARGV[10] then
    keep_beside()
    redis.call('ZADD', KEYS[2], 'NX', now, sid)
    return {'conflict', ring()}
end

-- What was accepted is never refused for a clock.
if is_future and not known and ARGV[9] ~= '' then return {'future', 0} end

-- With whom it was fought: the session may be gone when that is asked.
local fought = redis.pcall('HMGET', KEYS[3], 'participants', 'leavers')
local is_begun = not fought.err and fought[1]
local function roster()
    if ARGV[8] ~= '' or not is_begun then return {} end
    if not fought[2] then return {'roster', fought[1]} end
    local _, gone = listed_ids(fought[2])
    return {'roster', participants_with(fought[1], gone)}
end

-- A duplicate is recorded again: where the first was settled, the drain finds the row
-- and repeats the effects; where PostgreSQL lost it, it is settled. Until then the first
-- spelling of it is kept.
if known then
    local signature = redis.call('HGET', KEYS[1], 'signature') or ''
    local is_held = redis.call('HEXISTS', KEYS[1], 'raw') == 1
    if is_held and ARGV[11] ~= '' and ARGV[11] ~= signature and not keep_beside() then
        redis.call('ZADD', KEYS[2], 'NX', now, sid)
        return {'conflict', ring()}
    end
    if not is_held then
        redis.call('HSET', KEYS[1], 'raw', raw)
        sign()
    end
    redis.call('HSETNX', KEYS[1], 'accepted_at', now)
    redis.call('HSETNX', KEYS[1], 'players', #KEYS - 7)
    -- Once settled it has a day to live: it must not go before its entry.
    redis.call('PERSIST', KEYS[1])
else
    redis.call('HSET', KEYS[1], 'raw', raw, 'sha256', sha, 'accepted_at', now,
        'players', #KEYS - 7, unpack(roster()))
    sign()
    if ARGV[13] ~= '' then redis.call('HSET', KEYS[1], 'outcome', ARGV[13]) end
    if kind == 'hash' then redis.call('PERSIST', KEYS[1]) end
end
-- NX: a worker's lease and a back-off stay as they are.
redis.call('ZADD', KEYS[2], 'NX', now, sid)
if is_begun or redis.call('TYPE', KEYS[3]).ok == 'hash' then
    redis.call('HSET', KEYS[3], 'status', 'finished')
    redis.call('EXPIRE', KEYS[3], ARGV[5])
end
redis.pcall('ZREM', KEYS[4], sid)
-- A moment that lies ahead would refuse every later snapshot of its players.
for i = 8, is_future and 0 or #KEYS do
    snapshot(KEYS[i], ARGV[14 + (i - 8) * 2], ARGV[15 + (i - 8) * 2])
end
return {known and 'duplicate' or 'accepted', ring()}
