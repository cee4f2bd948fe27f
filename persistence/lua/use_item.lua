-- Use one piece of an item on a fighter's belt: one less on it, one more in `consumed`,
-- once by the id of the use.
-- KEYS: live session, result hash
-- ARGV: character id, inventory id, field of the use, 1 where the caller was told before
--       that it is used: it is counted then whatever the belt holds
-- Returns {used, pieces left on the belt}, {reused, inventory id}, {absent}, {over},
--         {no_fighter}, {not_on_belt}, {spent} or {unreadable}.
local char_id, inventory_id, use, is_told = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local MAX_QUANTITY = 1000000

local known = redis.pcall('HGET', KEYS[1], use)
if type(known) == 'string' then
    local row, left = string.match(known, '^(%d+):(%d+)$')
    if row == inventory_id then return {'used', left} end
    return {'reused', row or known}
end
local state = belt_session(KEYS[1], KEYS[2])
if state ~= 'active' then return {state} end

local actor = 'actor:' .. char_id
local text = redis.call('HGET', KEYS[1], actor)
local has_left = redis.call('HEXISTS', KEYS[1], 'left:' .. char_id) == 1
if not text or has_left and not is_told then return {'no_fighter'} end
local from = object_in(text)
if not from then return {'unreadable'} end
local edits, template, left = {}, nil, 0

local function is_of_row(entry)
    if string.sub(text, entry.first, entry.first) ~= '{' then return false end
    local id = member(text, entry.first, 'inventory_id')
        or member(text, entry.first, 'inv_id')
    return text_of(text, id) == inventory_id
end

local function entry_of_row(name)
    local list = member(text, from, name)
    if not is_list(text, list) then return nil end
    for _, entry in ipairs(parts(text, list.first)) do
        if is_of_row(entry) then return entry end
    end
end

local function number_in(entry, name)
    local part = member(text, entry.first, name)
    return tonumber(string.match(text_of(text, part) or '', '^%d+$')), part
end

local item = entry_of_row('belt_items')
if not item and not is_told then return {'not_on_belt'} end
if item then
    local quantity, part = number_in(item, 'quantity')
    if not quantity then return {'unreadable'} end
    if quantity < 1 and not is_told then return {'spent'} end
    left = math.max(quantity - 1, 0)
    edits[1] = {part.first, part.last, string.format('%d', left)}
    template = text_of(text, member(text, item.first, 'item_template_id'))
end

-- Of a row that was used before it is one more: a long fight's list stays short.
local function count()
    local entry = entry_of_row('consumed')
    local qty, part
    if entry then qty, part = number_in(entry, 'qty') end
    if qty and qty < MAX_QUANTITY then
        return {part.first, part.last, string.format('%d', qty + 1)}
    end
    local named = template and string.sub(template, 1, 1) == '"'
    local added = '{"inventory_id":' .. inventory_id
        .. (named and ',"item_template_id":' .. template or '') .. ',"qty":1}'
    local list = member(text, from, 'consumed')
    if list and not is_list(text, list) then return nil end
    local whole = list or {first = from, last = value_end(text, from)}
    local comma = #parts(text, whole.first) > 0 and ',' or ''
    if not list then added = '"consumed":[' .. added .. ']' end
    return {whole.last, whole.last - 1, comma .. added}
end

edits[#edits + 1] = count()
if #edits < (item and 2 or 1) then return {'unreadable'} end
left = string.format('%d', left)
redis.call('HSET', KEYS[1], actor, edited(text, edits), use, inventory_id .. ':' .. left)
return {'used', left}
