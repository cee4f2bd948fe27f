-- Tombstones of combats as they stand now, '' where there is to be none.
-- KEYS: tombstones   ARGV: day (s), then the value of each
-- Returns how many tell something else than before.
local changed = 0
for i, key in ipairs(KEYS) do
    local text = ARGV[i + 1]
    local is_new
    if text == '' then is_new = tombstone_forget(key)
    else is_new = tombstone_set(key, text, ARGV[1]) end
    if is_new then changed = changed + 1 end
end
return changed
