-- A drain ends its waiting: its place is free, if it is still its own.
-- KEYS: lingerer, wake   ARGV: who leaves
-- Returns 1 where a hand-off has woken it in vain, else 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return redis.call('DEL', KEYS[2])
