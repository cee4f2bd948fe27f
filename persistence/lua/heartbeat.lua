-- Say that a combat still runs.
-- KEYS: live session, active set   ARGV: session id
-- Returns 1, or 0 where no such combat runs.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 0 end
if redis.call('HGET', KEYS[1], 'status') ~= 'active' then return 0 end
local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[1], 'heartbeat', now)
redis.call('ZADD', KEYS[2], now, ARGV[1])
return 1
