-- Note that something is to be saved, or learn since when it is.
-- KEYS: intents   ARGV: member, 'again' = noted anew, 'known' = an older note stands
-- Returns the note's time (us).
local noted = redis.call('ZSCORE', KEYS[1], ARGV[1])
if noted and ARGV[2] == 'known' then return string.format('%d', noted) end
return note_intent(KEYS[1], ARGV[1])
