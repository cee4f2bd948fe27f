-- Take operations that were handled off the head of a list, and no others.
-- KEYS: operations   ARGV: those handled, oldest first
-- A trim that comes late, again or out of order steps over what is gone already.
-- Returns how many were taken off.
local head = redis.call('LRANGE', KEYS[1], 0, #ARGV - 1)
local taken = 0
for i = 1, #ARGV do
    if head[taken + 1] == ARGV[i] then taken = taken + 1 end
end
if taken > 0 then redis.call('LTRIM', KEYS[1], taken, -1) end
return taken
