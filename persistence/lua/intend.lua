-- Note that something is to be saved, or learn since when it is.
-- KEYS: intents, messages sent
-- ARGV: member, 'again' = noted anew, 'known' = an older note stands,
--       'begun' = likewise, and its message has been served
-- Returns {the note's time (us), 1 if the caller is to send a message}.
local noted = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not noted or ARGV[2] == 'again' then return {note_intent(KEYS[1], KEYS[2], ARGV[1])} end
if ARGV[2] == 'begun' then hold_message(KEYS[2], ARGV[1], LOST_AFTER_US) end
return {string.format('%d', noted), 0}
