-- One page of the intents, oldest first. Writes nothing.
-- KEYS: intents, messages sent   ARGV: rank of the first, of the last
-- Returns {member, 1 if a message may go out for it, ...}.
local page = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES')
for i = 1, #page, 2 do
    page[i + 1] = is_message_due(KEYS[2], page[i], page[i + 1]) and 1 or 0
end
return page
