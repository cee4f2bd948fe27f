-- What Redis holds of one fight, for one player. Writes nothing.
-- KEYS: tombstone, live session, result hash, account, negative cache, inbox
-- ARGV: session id, character id
-- Returns the tombstone where there is one, else
--   {status of the live session ('' = none, nil = no session), its participants,
--    1 if the player is one of its actors, the document, 1 if that was handed off,
--    1 if it is the player's last fight, 1 if anything here knows the fight,
--    1 if it was found unknown lately}.
local tombstone = redis.call('GET', KEYS[1])
if tombstone then return tombstone end

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
local is_known = status or has_result or is_last
    or redis.call('ZSCORE', KEYS[6], ARGV[1])
return {
    status, participants, actor, raw or unsent, sha and 1 or 0, is_last and 1 or 0,
    is_known and 1 or 0, redis.call('EXISTS', KEYS[5]),
}
