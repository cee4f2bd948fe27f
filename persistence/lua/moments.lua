-- Included by scripts that read moments which engines write, each in a unit of its own.
-- Below 10^11 it is seconds (until 5138), below 10^14 milliseconds, then micro-, nano-.
-- Returns milliseconds; 0 for what is no moment, or lies in the future: it would refuse
-- all that comes later.
local MAX_AHEAD_MS = 5 * 60 * 1000
local function any_unit_ms(value, now_ms)
    local number = tonumber(string.match(value or '', '^%d+%.?%d*$')) or 0
    if number < 1e11 then number = number * 1000
    elseif number >= 1e17 then number = number / 1e6
    elseif number >= 1e14 then number = number / 1000 end
    return number <= now_ms + MAX_AHEAD_MS and number or 0
end
