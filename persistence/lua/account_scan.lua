-- One page of the accounts that are not at rest. Writes nothing.
-- ARGV: cursor, account key prefix, keys to look at
-- Returns {next cursor, {key, combat, closing inventory, closing scenario}, ...}.
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2] .. '*', 'COUNT', ARGV[3])
local reply = {page[1]}
for _, key in ipairs(page[2]) do
    local found = account_get(key, 'combat_session_id', 'inventory_closing_session_id',
        'scenario_closing_session_id')
    if found then
        local entry, busy = {key}, false
        for i = 1, 3 do
            entry[i + 1] = found[i] or ''
            busy = busy or entry[i + 1] ~= ''
        end
        if busy then reply[#reply + 1] = entry end
    end
end
return reply
