-- Included by scripts that make a document of a live session, or record one only while the
-- session is what the document was made of.
-- Returns the fields that tell of the fighters, {name, value, ...}, and their digest.
local function roster_of(session)
    local fields, names = {}, {}
    if redis.call('TYPE', session).ok == 'hash' then
        local all = redis.call('HGETALL', session)
        for i = 1, #all, 2 do
            local name = all[i]
            if name == 'participants' or string.find(name, '^actor:')
                or string.find(name, '^left:') then
                names[#names + 1] = name
                fields[name] = all[i + 1]
            end
        end
    end
    table.sort(names)
    local found, told = {}, {}
    for i, name in ipairs(names) do
        local value = fields[name]
        found[i * 2 - 1], found[i * 2] = name, value
        told[i] = #name .. ':' .. name .. #value .. ':' .. value
    end
    return found, redis.sha1hex(table.concat(told))
end
