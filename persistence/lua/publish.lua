-- KEYS: stream. ARGV: entries to keep, the last id that is known as published; then of
-- each event its id and its JSON, ascending.
-- The id of an entry is that of its event: the stream itself takes none twice, nor out of
-- order. Returns the last id of the stream, and adds nothing where it has lost some.
local top = 0
if redis.call('EXISTS', KEYS[1]) == 1 then
    local told = redis.call('XINFO', 'STREAM', KEYS[1])
    for at = 1, #told, 2 do
        if told[at] == 'last-generated-id' then
            top = tonumber(string.match(told[at + 1], '^%d+'))
        end
    end
end
if top < tonumber(ARGV[2]) then
    return top
end
for at = 3, #ARGV, 2 do
    local id = tonumber(ARGV[at])
    if id > top then
        redis.call(
            'XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], ARGV[at] .. '-0', 'event', ARGV[at + 1]
        )
        top = id
    end
end
return top
