-- Which of what was asked for is not done yet.
-- KEYS: for each the sorted set that it waits in, or the list that it is in itself
-- ARGV: for each its member of the set, '' of a list
-- Returns 1 or 0 for each.
local function waits(key, member)
    if member == '' then return redis.call('EXISTS', key) end
    -- A foreign type holds nothing of ours.
    return type(redis.pcall('ZSCORE', key, member)) == 'string' and 1 or 0
end

local found = {}
for i, key in ipairs(KEYS) do found[i] = waits(key, ARGV[i]) end
return found
