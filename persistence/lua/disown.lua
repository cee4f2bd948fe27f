-- Put accounts right that tell what a document said which was refused after all.
-- KEYS: accounts   ARGV: session id, the document's end (s), then of each account hp and
--       energy as the document says, and hp, energy, vitals_at (ms), last combat and its
--       end (s) as PostgreSQL does ('' = none)
-- Returns how many accounts were put right.
local sid, finished_at = ARGV[1], tonumber(ARGV[2])
local EACH = 7

local function put_right(key, said_hp, said_energy, hp, energy, vitals_at, last, ended_at)
    local known, form = account_get(key, 'last_combat_session_id',
        'last_combat_finished_at', 'hp', 'energy', 'vitals_at')
    if not known or known[1] ~= sid or tonumber(known[2] or '') ~= finished_at then
        return 0
    end
    local right = {last_combat_session_id = last, last_combat_finished_at = ended_at}
    -- What the player did since stands.
    if known[3] == said_hp and known[4] == said_energy
        and tonumber(known[5] or '') == finished_at * 1000 then
        right.hp, right.energy, right.vitals_at = hp, energy, vitals_at
    end
    for name, value in pairs(right) do
        if value == '' then account_clear(key, form, name)
        else account_set(key, form, {name, value}) end
    end
    return 1
end

local changed = 0
for i, key in ipairs(KEYS) do
    local first = 3 + (i - 1) * EACH
    changed = changed + put_right(key, unpack(ARGV, first, first + EACH - 1))
end
return changed
