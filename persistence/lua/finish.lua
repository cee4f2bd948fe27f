-- The effects of settled entries, and their removal, each only while its lease is ours.
-- KEYS: inbox   ARGV: result prefix, tombstone prefix, session prefix, day (s),
--       retention of raw (s), then for each entry: session id, lease, tombstone or '',
--       SHA-256 of the row, '' where there is none, or '-' where no engine has signed the
--       document, number of recorded conflict fields, the fields
-- Returns how many entries were removed.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local day, retention = tonumber(ARGV[4]), tonumber(ARGV[5])

-- A conflict that came meanwhile keeps the entry: the next drain records it.
local function conflict_left(key)
    -- `sha256` and `accepted_at` stay for a day: with no more there is no conflict.
    if redis.call('HLEN', key) <= 2 then return false end
    for _, name in ipairs(redis.call('HKEYS', key)) do
        if string.sub(name, 1, 9) == 'conflict:' then return true end
    end
    return false
end

local function is_ours(sid, lease)
    local score = redis.call('ZSCORE', KEYS[1], sid)
    return score and tonumber(score) == tonumber(lease)
end

-- Whether the entry may go.
local function finish(sid, tombstone, sha, fields)
    local key = ARGV[1] .. sid
    -- Redis may have forgotten the first document and met another one since.
    if sha ~= '' and sha ~= '-' then redis.call('HSET', key, 'sha256', sha) end
    if tombstone ~= '' then
        tombstone_set(ARGV[2] .. sid, tombstone, day)
    else
        tombstone_forget(ARGV[2] .. sid)
    end
    if retention == 0 then
        fields[#fields + 1] = 'raw'
        fields[#fields + 1] = 'signature'
    end
    redis.call('HDEL', key, 'claims', 'players', 'roster', unpack(fields))
    if conflict_left(key) then
        redis.call('ZADD', KEYS[1], 'XX', now, sid)
        return false
    end
    if sha == '-' then
        -- The one that an engine signs is then the first again.
        redis.call('DEL', key)
    else
        redis.call('EXPIRE', key, math.max(day, retention))
    end
    return true
end

local at, sessions, done = 6, {}, {}
while at <= #ARGV do
    local sid, fields, count = ARGV[at], {}, tonumber(ARGV[at + 4])
    for i = 1, count do fields[i] = ARGV[at + 4 + i] end
    if is_ours(sid, ARGV[at + 1]) then
        local sha = ARGV[at + 3]
        -- Without a row the live session is all there is of the fight.
        if sha ~= '' and sha ~= '-' then sessions[#sessions + 1] = ARGV[3] .. sid end
        if finish(sid, ARGV[at + 2], sha, fields) then done[#done + 1] = sid end
    end
    at = at + 5 + count
end
-- All at once, for a tenth of what it costs one by one; entries last, so that whatever
-- is cut short is done again.
if #sessions > 0 then redis.call('DEL', unpack(sessions)) end
return #done > 0 and redis.call('ZREM', KEYS[1], unpack(done)) or 0
