-- What Redis holds of one fight, for one player. Writes nothing.
-- KEYS: tombstone, live session, result hash, account, negative cache, inbox
-- ARGV: session id, character id, '1' where the tombstone is known to be unreadable
-- Returns the tombstone where there is one of a combat that was not undone, else
--   {status of the live session ('' = none, nil = no session), its participants,
--    1 if the player is one of its actors, the document, 1 if that was handed off,
--    1 if it is the player's last fight, 1 if anything here knows the fight,
--    1 if it was found unknown lately, 1 if a tombstone is there all the same}.
local MAX_TOMBSTONE_BYTES = 4 * 1024 * 1024
local has_tombstone = redis.call('EXISTS', KEYS[1]) == 1
if has_tombstone and ARGV[3] == '' then
    local length = redis.pcall('STRLEN', KEYS[1])
    if type(length) == 'number' and length <= MAX_TOMBSTONE_BYTES then
        local tombstone = redis.call('GET', KEYS[1])
        if not tombstone_is_undone(tombstone) then return tombstone end
    end
end

-- A foreign type is no session, no result and no account.
local function is_hash(key)
    return redis.call('TYPE', key).ok == 'hash'
end

local status, participants, unsent, actor = false, false, false, 0
if is_hash(KEYS[2]) then
    local live = redis.call('HMGET', KEYS[2], 'status', 'participants', 'result')
    status, participants, unsent = live[1] or '', live[2], live[3]
    actor = redis.call('HEXISTS', KEYS[2], 'actor:' .. ARGV[2])
end

local raw, sha = false, false
local has_result = is_hash(KEYS[3])
if has_result then
    raw, sha = unpack(redis.call('HMGET', KEYS[3], 'raw', 'sha256'))
end

local account = account_get(KEYS[4], 'last_combat_session_id')
local is_last = account and account[1] == ARGV[1]

-- Whatever became known since then wins over the negative cache.
local is_known = has_tombstone or status or has_result or is_last
    or redis.call('ZSCORE', KEYS[6], ARGV[1])
return {
    status, participants, actor, raw or unsent, sha and 1 or 0, is_last and 1 or 0,
    is_known and 1 or 0, redis.call('EXISTS', KEYS[5]),
    has_tombstone and 1 or 0,
}
