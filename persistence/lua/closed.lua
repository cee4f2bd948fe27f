-- Sessions that are saved are closing no longer; those closed since stay named.
-- KEYS: account   ARGV: field, session ids that were saved
-- Returns 1 if none is left.
local values, form = account_get(KEYS[1], ARGV[1])
if not values or not values[1] then return 1 end
local saved, left = {}, {}
for i = 2, #ARGV do saved[ARGV[i]] = true end
for sid in string.gmatch(values[1], '[^,]+') do
    if not saved[sid] then left[#left + 1] = sid end
end
if #left > 0 then
    account_set(KEYS[1], form, {ARGV[1], table.concat(left, ',')})
    return 0
end
account_clear(KEYS[1], form, ARGV[1])
return 1
