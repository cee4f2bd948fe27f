-- Append inventory operations, unless they take what the belt of a running combat holds.
-- KEYS: account, operations, intents, messages sent
-- ARGV: character id, live session prefix, ids they take from (JSON), the operations
-- Returns {queued, 1 if the caller is to send a message} or {reserved, the combat, inventory ids ...}.
local values = account_get(KEYS[1], 'combat_session_id')
local sid = values and values[1]
if sid and sid ~= '' then
    local actor = redis.pcall('HGET', ARGV[2] .. sid, 'actor:' .. ARGV[1])
    local held = {}
    if type(actor) == 'string' then
        local parsed, container = pcall(cjson.decode, actor)
        local belt = parsed and type(container) == 'table' and container.belt_items
        for _, item in ipairs(type(belt) == 'table' and belt or {}) do
            if type(item) == 'table' then held[tostring(item.inventory_id)] = true end
        end
    end
    local reserved = {'reserved', sid}
    for _, id in ipairs(cjson.decode(ARGV[3])) do
        if held[tostring(id)] then reserved[#reserved + 1] = tostring(id) end
    end
    if #reserved > 2 then return reserved end
end
for i = 4, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
local _, to_send = note_intent(KEYS[3], KEYS[4], 'inventory:' .. ARGV[1])
return {'queued', to_send}
