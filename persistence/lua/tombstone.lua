-- Included by scripts that read or write tombstones.
-- A tombstone begins with what it is true of: {"revision":N, and, where that was undone,
-- "undone":true after it. An older one never replaces a newer. Whatever else is there,
-- also a tombstone of an older release, is older than any.
local function tombstone_age(text)
    -- Two for each revision, so that undone is newer than told of the same one.
    if type(text) ~= 'string' then return -1 end
    local revision = string.match(text, '^{"revision":(%d+),')
    if not revision or #revision > 9 then return -1 end
    local is_undone = string.find(text, '^{"revision":%d+,"undone":true')
    return tonumber(revision) * 2 + (is_undone and 1 or 0)
end

local function tombstone_is_undone(text)
    local age = tombstone_age(text)
    return age > 0 and age % 2 == 1
end

-- Room for a revision of nine digits and the mark; the rest may be long.
local function tombstone_beginning(key)
    return redis.pcall('GETRANGE', key, 0, 40)
end

-- Whether what the key tells has changed.
local function tombstone_set(key, text, seconds)
    -- Nearly always there is none yet.
    if redis.call('SET', key, text, 'EX', seconds, 'NX') then return true end
    local held, new = tombstone_age(tombstone_beginning(key)), tombstone_age(text)
    if held > new then return false end
    redis.call('SET', key, text, 'EX', seconds)
    return held < new
end

-- Nothing is told from here then: PostgreSQL is asked, as where a combat was undone.
local function tombstone_forget(key)
    if tombstone_is_undone(tombstone_beginning(key)) then return false end
    return redis.call('DEL', key) == 1
end
