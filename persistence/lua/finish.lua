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

local function finish(sid, lease, tombstone, sha, fields)
    local score = redis.call('ZSCORE', KEYS[1], sid)
    if not score or tonumber(score) ~= tonumber(lease) then return 0 end
    local key = ARGV[1] .. sid
    -- Without a row the live session is all there is of the fight.
    if sha ~= '' and sha ~= '-' then
        redis.call('DEL', ARGV[3] .. sid)
        -- Redis may have forgotten the first document and met another one since.
        redis.call('HSET', key, 'sha256', sha)
    end
    if tombstone ~= '' then
        tombstone_set(ARGV[2] .. sid, tombstone, day)
    else
        tombstone_forget(ARGV[2] .. sid)
    end
    redis.call('HDEL', key, 'claims', 'players', unpack(fields))
    if retention == 0 then redis.call('HDEL', key, 'raw', 'signature') end
    if conflict_left(key) then
        redis.call('ZADD', KEYS[1], 'XX', now, sid)
        return 0
    end
    if sha == '-' then
        -- The one that an engine signs is then the first again.
        redis.call('DEL', key)
    else
        redis.call('EXPIRE', key, math.max(day, retention))
    end
    redis.call('ZREM', KEYS[1], sid)
    return 1
end

local removed, at = 0, 6
while at <= #ARGV do
    local fields, count = {}, tonumber(ARGV[at + 4])
    for i = 1, count do fields[i] = ARGV[at + 4 + i] end
    removed = removed + finish(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], fields)
    at = at + 5 + count
end
return removed
