-- Included by scripts that change a JSON text of the engine's. What they do not change
-- stays as it was written: cjson would write an empty list as an object, and an id beyond
-- 14 digits as another number. `text` is JSON that cjson has read, or these go astray.

-- Where the value that begins at `from` ends.
local function value_end(text, from)
    local first = string.sub(text, from, from)
    local at = from
    if first == '"' then
        while true do
            at = string.find(text, '["\\]', at + 1)
            if string.sub(text, at, at) == '"' then return at end
            at = at + 1
        end
    end
    if first ~= '{' and first ~= '[' then
        return (string.find(text, '[%s,%]}]', from) or #text + 1) - 1
    end
    local depth = 0
    repeat
        at = string.find(text, '["%[%]{}]', at)
        local found = string.sub(text, at, at)
        if found == '"' then at = value_end(text, at)
        elseif found == '{' or found == '[' then depth = depth + 1
        else depth = depth - 1 end
        at = at + 1
    until depth == 0
    return at - 1
end

-- Members of the object, or elements of the list, that begins at `from`:
-- {{name =, first =, last =}, ...}, in their order.
local function parts(text, from)
    local is_object = string.sub(text, from, from) == '{'
    local found, at = {}, string.find(text, '%S', from + 1)
    while not string.find(text, '^[%]}]', at) do
        local name
        if is_object then
            local last = value_end(text, at)
            name = cjson.decode('[' .. string.sub(text, at, last) .. ']')[1]
            at = string.find(text, '%S', string.find(text, ':', last + 1, true) + 1)
        end
        local last = value_end(text, at)
        found[#found + 1] = {name = name, first = at, last = last}
        at = string.find(text, '%S', last + 1)
        if string.sub(text, at, at) == ',' then at = string.find(text, '%S', at + 1) end
    end
    return found
end

-- The member of that name of the object that begins at `from`; of several the last counts.
local function member(text, from, name)
    local found
    for _, part in ipairs(parts(text, from)) do
        if part.name == name then found = part end
    end
    return found
end

-- Where the object begins that `text` is; nil where it is none.
local function object_in(text)
    local parsed, value = pcall(cjson.decode, text)
    local from = parsed and type(value) == 'table' and string.find(text, '%S')
    return from and string.sub(text, from, from) == '{' and from or nil
end

local function is_list(text, part)
    return part and string.sub(text, part.first, part.first) == '[' or false
end

local function text_of(text, part)
    return part and string.sub(text, part.first, part.last)
end

-- `edits`: {first, last, the text between them, ...}, of places apart from each other.
local function edited(text, edits)
    table.sort(edits, function(one, other) return one[1] > other[1] end)
    for _, edit in ipairs(edits) do
        text = string.sub(text, 1, edit[1] - 1) .. edit[3] .. string.sub(text, edit[2] + 1)
    end
    return text
end
