-- One page of the live sessions that are finished. Writes nothing.
-- ARGV: cursor, session key prefix, keys to look at
-- Returns {next cursor, session key, ...}.
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2] .. '*', 'COUNT', ARGV[3])
local reply = {page[1]}
for _, key in ipairs(page[2]) do
    if redis.pcall('HGET', key, 'status') == 'finished' then reply[#reply + 1] = key end
end
return reply
