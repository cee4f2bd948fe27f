-- Read what waits longest in a queue of the broker, unless somebody else does just now.
-- KEYS: queue, its taker
-- ARGV: messages at most, bytes at most, token of the caller, life of the taker (ms)
-- Returns the messages, oldest first. Nothing is removed: `leave.lua` does that.
if not redis.call('SET', KEYS[2], ARGV[3], 'NX', 'PX', ARGV[4]) then return {} end
local found, bytes = {}, 0
for i = 1, tonumber(ARGV[1]) do
    -- Producers push to the head, workers pop from the tail.
    local message = redis.call('LINDEX', KEYS[1], -i)
    bytes = bytes + #(message or '')
    if not message or bytes > tonumber(ARGV[2]) then break end
    found[i] = message
end
if #found == 0 then redis.call('DEL', KEYS[2]) end
return found
