-- Append inventory operations, unless they take what the belt of a running combat holds.
-- KEYS: account, operations, intents, messages sent
-- ARGV: character id, live session prefix, ids they take from (JSON), pieces by template
--       (JSON: {template: {pieces that must be free before the first of them, pieces that
--       all of them add, or less than none}}), the operations
-- Returns {queued, 1 if the caller is to send a message} or
--         {reserved, the combat, inventory ids ...}.
local char_id = ARGV[1]
local values = account_get(KEYS[1], 'combat_session_id')
local sid = values and values[1]
local session = sid and sid ~= '' and ARGV[2] .. sid

local function belt()
    local actor = redis.pcall('HGET', session, 'actor:' .. char_id)
    if type(actor) ~= 'string' then return {} end
    -- As text: an id beyond 14 digits would come back as another number.
    local exact = string.gsub(actor, '("inventory_id"%s*:%s*)(%d+)(%s*[,}])', '%1"%2"%3')
    local parsed, container = pcall(cjson.decode, exact)
    local items = parsed and type(container) == 'table' and container.belt_items
    return type(items) == 'table' and items or {}
end

-- Known of what is on the belt; of anything else nobody has counted what is in the bag.
local function free_pieces(template)
    local free = redis.pcall('HGET', session, 'free:' .. char_id .. ':' .. template)
    return type(free) == 'string' and tonumber(free) or nil
end

local taken, pieces = {}, cjson.decode(ARGV[4])
for _, id in ipairs(cjson.decode(ARGV[3])) do taken[tostring(id)] = true end

local function is_taken(item)
    if taken[tostring(item.inventory_id)] then return true end
    local asked = pieces[item.item_template_id]
    local free = asked and free_pieces(item.item_template_id)
    return free and asked[1] > free
end

if session then
    local reserved = {'reserved', sid}
    for _, item in ipairs(belt()) do
        if type(item) == 'table' and is_taken(item) then
            reserved[#reserved + 1] = tostring(item.inventory_id)
        end
    end
    if #reserved > 2 then return reserved end
    -- Nobody counts again while the fight lasts: what is queued keeps the number.
    for template, asked in pairs(pieces) do
        if free_pieces(template) then
            redis.call('HINCRBY', session, 'free:' .. char_id .. ':' .. template, asked[2])
        end
    end
end
for i = 5, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
local _, to_send = note_intent(KEYS[3], KEYS[4], 'inventory:' .. char_id)
return {'queued', to_send}
