-- Remove from a queue of the broker the messages that were recorded, and no others.
-- KEYS: queue, its taker   ARGV: token of the caller, those messages, oldest first
-- Returns how many were removed: one that a worker has popped meanwhile is delivered
-- as well, which is harmless.
local removed = 0
for i = 2, #ARGV do
    removed = removed + redis.call('LREM', KEYS[1], -1, ARGV[i])
end
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return removed
