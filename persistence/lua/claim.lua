-- Lease due entries: up to `limit` first deliveries, at most one of them a crowd's and the
-- others of no more than so many players together, and at most one delivered before, which
-- is settled alone. What is passed over keeps its turn: small fights do not wait behind
-- crowds, nor these for ever. Nothing is popped: a dead worker's leases come due again.
-- KEYS: inbox   ARGV: limit, lease (ms), bytes at most, result key prefix, then '' or the
--                      moment (ms) after which nothing counts as due
-- Returns {1 if more may be due, {session id, lease, claims, raw, sha256, accepted_at,
--          signature, roster, conflict field, conflict raw, ...}, ...}.
local limit, lease_ms, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- The clock of Redis for all: leases of two workers are then measured by one.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = string.format('%d', now + lease_ms)

-- A hundred fights of a thousand players held up small ones for half a minute:
-- docs/decisions/0020-crowds.md.
local CROWD, MOST_PLAYERS = 100, 2000
-- Entries looked at by one claim: Redis serves nobody else meanwhile.
local MOST_SEEN = 1000

local function digits(text, longest)
    -- Whatever foreign text stands in its place counts as none.
    return text and #text < longest and tonumber(string.match(text, '^%d+$'))
end

-- An older engine does not say how many: every thousand bytes count as a player.
local function players(key, known)
    return digits(known, 20) or math.floor(redis.call('HSTRLEN', key, 'raw') / 1000)
end

local function conflicts(key, entry)
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
        if string.sub(fields[i], 1, 9) == 'conflict:' then
            entry[#entry + 1] = fields[i]
            entry[#entry + 1] = fields[i + 1]
        end
    end
end

-- How often it was claimed, and its players. Whatever foreign thing sits at the key is
-- put aside, or no claim would pass.
local function look(key)
    local known = redis.pcall('HMGET', key, 'claims', 'players')
    if known.err then
        redis.call('RENAME', key, key .. ':foreign')
        known = {}
    end
    return digits(known[1], 10) or 0, known[2]
end

local function take(sid, key, claims, has_players)
    redis.call('ZADD', KEYS[1], 'XX', lease, sid)
    redis.call('HSET', key, 'claims', claims + 1)
    local known = redis.call('HMGET', key, 'raw', 'sha256', 'accepted_at', 'signature',
        'roster', 'outcome')
    local entry = {sid, lease, claims + 1, unpack(known, 1, 5)}
    -- Fields that are no conflicts: `claims`, and those of seven more that are there.
    local plain = has_players and 2 or 1
    for i = 1, 6 do if known[i] then plain = plain + 1 end end
    if redis.call('HLEN', key) > plain then conflicts(key, entry) end
    return entry
end

local latest = math.min(now, tonumber(ARGV[5]) or now)
local reply = {0}
local bytes, people, has_crowd, again = 0, 0, false, nil

local function has_room(key, known)
    -- Before it is added: a document larger than the bound has to be settled, too.
    if bytes > max_bytes then return false end
    local number = players(key, known)
    if number > CROWD then
        if has_crowd then return false end
        has_crowd = true
    elseif people + number > MOST_PLAYERS then
        return false
    else
        people = people + number
    end
    return true
end

-- What is taken is no longer due, what is left stays before the next page.
local seen, left = 0, 0
while #reply <= limit and seen < MOST_SEEN do
    local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest, 'LIMIT', left, limit)
    if #due == limit then reply[1] = 1 end
    for _, sid in ipairs(due) do
        local key = ARGV[4] .. sid
        local claims, known = look(key)
        left = left + 1
        if #reply > limit then
            reply[1] = 1
        elseif not string.match(sid, '^[0-9a-f]+%-[0-9a-f]+%-[0-9a-f]+%-[0-9a-f]+%-[0-9a-f]+$') then
            -- Not a session: the worker takes it out of the inbox.
            reply[#reply + 1] = {sid}
        elseif claims > 0 then
            -- The first alone: should it kill its worker, no other waits for its lease.
            again = again or {sid, key, claims, known}
        elseif has_room(key, known) then
            local entry = take(sid, key, claims, known)
            bytes = bytes + (entry[4] and #entry[4] or 0)
            reply[#reply + 1] = entry
            left = left - 1
        else
            reply[1] = 1
        end
    end
    seen = seen + #due
    if #due < limit or bytes > max_bytes then break end
end
if again then reply[#reply + 1] = take(unpack(again, 1, 4)) end
return reply
