-- KEYS: live session   ARGV: actor fields
-- Returns their containers in that order, nil where there is none.
local found = redis.pcall('HMGET', KEYS[1], unpack(ARGV))
if not found.err then return found end
local none = {}
for i = 1, #ARGV do none[i] = false end
return none
