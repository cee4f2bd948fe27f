-- Included by scripts that change who is listed in a live session. As text: an id beyond
-- 14 digits would come back as another number.

-- The entries of a JSON list of ids as they are written, and the ids that they are.
local function listed_ids(text)
    local entries, ids = {}, {}
    for entry in string.gmatch(string.match(text or '', '^%s*%[(.*)%]%s*$') or '', '[^,]+') do
        entries[#entries + 1] = string.match(entry, '^%s*(.-)%s*$')
        ids[#ids + 1] = string.match(entries[#entries], '^"?(.-)"?$')
    end
    return entries, ids
end

local function participants_with(text, char_ids)
    local entries, ids = listed_ids(text)
    local known = {}
    for _, id in ipairs(ids) do known[id] = true end
    for _, id in ipairs(char_ids) do
        if not known[id] then entries[#entries + 1] = id end
    end
    return '[' .. table.concat(entries, ', ') .. ']'
end

local function participants_without(text, gone)
    local entries, ids = listed_ids(text)
    local left = {}
    for i, id in ipairs(ids) do
        if id ~= gone and id ~= '' then left[#left + 1] = entries[i] end
    end
    return '[' .. table.concat(left, ', ') .. ']'
end
