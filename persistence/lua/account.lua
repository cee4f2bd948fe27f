-- Included by scripts that touch `ac:{char_id}`. The account cache in the form its key
-- has: a hash, or RedisJSON where the server has the type. Any other type is left alone,
-- and so is a JSON account that is no object.
-- Values are strings, false where there is none.
local JSON_PATHS = {
    hp = '$.stats.hp.cur',
    energy = '$.stats.energy.cur',
    location = '$.location.current',
    state = '$.state',
    vitals_at = '$.vitals_at',
    combat_session_id = '$.sessions.combat_id',
    inventory_session_id = '$.sessions.inventory_id',
    scenario_session_id = '$.sessions.scenario_id',
    inventory_closing_session_id = '$.sessions.inventory_closing_id',
    scenario_closing_session_id = '$.sessions.scenario_closing_id',
    last_combat_session_id = '$.sessions.last_combat_id',
    last_combat_finished_at = '$.sessions.last_combat_finished_at',
}
-- A session of a mode of the game's own lies beside ours.
setmetatable(JSON_PATHS, {__index = function(_, field)
    return '$.sessions.' .. string.gsub(field, '_session_id$', '_id')
end})
local NUMBERS = {hp = 1, energy = 1, vitals_at = 1, last_combat_finished_at = 1}

local function json_document(key)
    local text = redis.call('JSON.GET', key)
    if string.sub(text, 1, 1) ~= '{' then return nil end
    local parsed, document = pcall(cjson.decode, text)
    return parsed and document or nil
end

local function json_value(document, field)
    local found = document
    for name in string.gmatch(JSON_PATHS[field], '%.([^.]+)') do
        if type(found) ~= 'table' then return false end
        found = found[name]
    end
    if found == nil or found == cjson.null then return false end
    if type(found) == 'table' then return cjson.encode(found) end
    if type(found) ~= 'number' then return tostring(found) end
    -- cjson reads every number as a double; a whole one is written as a hash has it.
    return string.format(found == math.floor(found) and '%.0f' or '%.17g', found)
end

-- RedisJSON makes a leaf, but none of the objects above it. Where something else sits in
-- the place of one of those, nothing is written.
local function json_set(key, field, text)
    local path = JSON_PATHS[field]
    for parent in string.gmatch(path, '()%.') do
        parent = string.sub(path, 1, parent - 1)
        local found = parent ~= '$' and redis.call('JSON.GET', key, parent)
        if found == '[]' or found == '[null]' then
            redis.call('JSON.SET', key, parent, '{}')
        elseif found and string.sub(found, 1, 2) ~= '[{' then
            return
        end
    end
    redis.call('JSON.SET', key, path, text)
end

-- Returns the values and the form of the account, or nil for a foreign type.
local function account_get(key, ...)
    -- pcall: an error would end the script, and Redis takes back nothing it has written.
    local values = redis.pcall('HMGET', key, ...)
    if not values.err then return values, 'hash' end
    if redis.call('TYPE', key).ok ~= 'ReJSON-RL' then return nil end
    local document = json_document(key)
    if not document then return nil end
    values = {}
    for i, field in ipairs({...}) do values[i] = json_value(document, field) end
    return values, 'json'
end

-- `fields`: {name, value, name, value, ...}
local function account_set(key, form, fields)
    if #fields == 0 then return end
    if form == 'hash' then
        redis.call('HSET', key, unpack(fields))
        return
    end
    for i = 1, #fields, 2 do
        local text = fields[i + 1]
        if not NUMBERS[fields[i]] then text = cjson.encode(text) end
        json_set(key, fields[i], text)
    end
end

local function account_clear(key, form, field)
    if form == 'hash' then
        redis.call('HDEL', key, field)
    else
        json_set(key, field, 'null')
    end
end
