-- Included by scripts that ask for a save. `sent` holds, for each noted member, from when
-- on (us) another message may go out for it: the one before has then been served, or is
-- taken for lost.
-- At first 5 s; in a slow queue as long as the note has waited, up to 30 s.
local LOST_AFTER_US, LOST_AFTER_AT_MOST_US = 5000000, 30000000

local function now_us()
    local time = redis.call('TIME')
    return time[1] * 1000000 + time[2]
end

local function hold_message(sent, member, wait)
    redis.call('ZADD', sent, string.format('%d', now_us() + wait), member)
end

-- Two notes of one member never carry the same time, so that whoever saw the first cannot
-- strike out the second. Returns the time, and 1 if the caller is to send a message: one
-- that is under way serves a newer note, too.
local function note_intent(intents, sent, member)
    local known = redis.call('ZSCORE', intents, member)
    local noted = math.max(now_us(), (tonumber(known or '0')) + 1)
    noted = string.format('%d', noted)
    redis.call('ZADD', intents, noted, member)
    if known then return noted, 0 end
    hold_message(sent, member, LOST_AFTER_US)
    return noted, 1
end

-- An older engine or worker notes without saying that it has sent.
local function is_message_due(sent, member, noted)
    local held = tonumber(redis.call('ZSCORE', sent, member) or '')
    return (held or tonumber(noted) + LOST_AFTER_US) <= now_us()
end

-- Before another message goes out for a noted member: whoever asks next is told to wait,
-- as long again as the member has waited by now, within bounds. Returns 1 if it is to go.
local function claim_message(intents, sent, member)
    local noted = redis.call('ZSCORE', intents, member)
    if not noted or not is_message_due(sent, member, noted) then return 0 end
    local wait = math.max(now_us() - tonumber(noted), LOST_AFTER_US)
    hold_message(sent, member, math.min(wait, LOST_AFTER_AT_MOST_US))
    return 1
end
