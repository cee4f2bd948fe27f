-- Whether a message is to go out for a noted member: of several who ask, one is told so.
-- KEYS: intents, messages sent   ARGV: member
-- Returns 1 or 0.
return claim_message(KEYS[1], KEYS[2], ARGV[1])
