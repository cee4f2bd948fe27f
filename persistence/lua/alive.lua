-- Note that a process is alive, by the clock of Redis, which all hosts share.
-- KEYS: alive
-- ARGV: the process, how long (ms) one that is silent is remembered
-- Returns nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
