-- What Redis knows of a fight, for the document that `finish_combat` makes.
-- KEYS: live session, result hash   ARGV: mark of the outcome
-- Returns {active | absent | over, moment (s), digest of the fighters' fields, 1 if a
--          document that was made of this very outcome stands, its bytes and signature ('':
--          settled, so that they are gone), then those fields and their values ...}.
local known = redis.pcall('HMGET', KEYS[2], 'outcome', 'raw', 'signature')
local stands = known[1] and known[1] == ARGV[1] and 1 or 0
local fields, digest = roster_of(KEYS[1])
return {belt_session(KEYS[1], KEYS[2]), redis.call('TIME')[1], digest, stands,
    known[2] or '', known[3] or '', unpack(fields)}
