-- The one door and the one arbiter: record a combat result, or find that it is known.
-- KEYS: result hash, inbox, live session, active set, doorbell, then one account a player
-- ARGV: session id, raw, sha256, finished_at (s), session TTL (s), doorbell TTL (ms),
--       conflicts held at most, then hp and energy for each account ('' = no snapshot)
-- Returns {accepted | duplicate | conflict, 1 if the caller is to ring}.
local sid, raw, sha, finished_at = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function ring()
    return redis.call('SET', KEYS[5], '1', 'NX', 'PX', ARGV[6]) and 1 or 0
end

local function conflicts_held()
    local held = 0
    for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
        if string.sub(name, 1, 9) == 'conflict:' then held = held + 1 end
    end
    return held
end

-- Engines of either unit may have written the field: 10^11 s is the year 5138.
local function seconds(value)
    local number = tonumber(value or '') or 0
    if number > 1e11 then number = number / 1000 end
    return number
end

local function newer(last_finished, last_sid)
    local last = seconds(last_finished)
    if finished_at ~= last then return finished_at > last end
    return sid > (last_sid or '')
end

-- A foreign type is left alone: it must never refuse a hand-off.
local function snapshot(account, hp, energy)
    local kind = redis.call('TYPE', account).ok
    if kind ~= 'hash' and kind ~= 'none' then return end
    local now_in, last_finished, last_sid = unpack(redis.call('HMGET', account,
        'combat_session_id', 'last_combat_finished_at', 'last_combat_session_id'))
    local own = now_in == sid
    local idle = not now_in or now_in == ''
    local is_newer = newer(last_finished, last_sid)
    if not own and not (idle and is_newer) then return end
    if own then redis.call('HDEL', account, 'combat_session_id') end
    if hp ~= '' then
        redis.call('HSET', account, 'hp', hp, 'energy', energy,
            'vitals_at', string.format('%d', finished_at * 1000))
    end
    if is_newer then
        redis.call('HSET', account, 'last_combat_session_id', sid,
            'last_combat_finished_at', string.format('%d', finished_at))
    end
end

-- Whatever foreign thing sits at the result's key is put aside: it refuses nothing.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then
    redis.call('RENAME', KEYS[1], KEYS[1] .. ':foreign')
end

local known = redis.call('HGET', KEYS[1], 'sha256')
if known and known ~= sha then
    if conflicts_held() < tonumber(ARGV[7]) then
        redis.call('HSET', KEYS[1], 'conflict:' .. sha, raw)
    end
    redis.call('ZADD', KEYS[2], 'NX', now, sid)
    return {'conflict', ring()}
end

-- A duplicate is recorded again: where the first was settled, the drain finds the row
-- and repeats the effects; where PostgreSQL lost it, it is settled.
redis.call('HSET', KEYS[1], 'raw', raw, 'sha256', sha)
redis.call('HSETNX', KEYS[1], 'accepted_at', string.format('%d', now))
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[2], 'NX', now, sid)
if redis.call('TYPE', KEYS[3]).ok == 'hash' then
    redis.call('HSET', KEYS[3], 'status', 'finished')
    redis.call('EXPIRE', KEYS[3], ARGV[5])
end
redis.pcall('ZREM', KEYS[4], sid)
for i = 6, #KEYS do
    snapshot(KEYS[i], ARGV[8 + (i - 6) * 2], ARGV[9 + (i - 6) * 2])
end
return {known and 'duplicate' or 'accepted', ring()}
