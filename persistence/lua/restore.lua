-- Fill an account from PostgreSQL. What a live account holds is never overwritten; one
-- that a hand-off or a switch made is completed, and of two moments the newer stands.
-- KEYS: account, scenario session (that it has in PostgreSQL, if any)
-- ARGV: 'json' = where there is none, make it RedisJSON; hp, energy, vitals_at (ms),
--       location, state, last combat, its end (s), scenario session id, then names and
--       values of that session's hash. '' = PostgreSQL has none
-- Returns 1 if anything was written.
local HP, ENERGY, VITALS_AT, LOCATION, STATE, COMBAT, ENDED_AT, SCENARIO, PROGRESS =
    2, 3, 4, 5, 6, 7, 8, 9, 10
if ARGV[1] == 'json' and redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('JSON.SET', KEYS[1], '$', '{}')
end
local known, form = account_get(KEYS[1], 'hp', 'energy', 'vitals_at', 'location', 'state',
    'last_combat_session_id', 'last_combat_finished_at', 'scenario_session_id',
    'combat_session_id', 'inventory_session_id', 'scenario_closing_session_id')
if not known then return 0 end
local hp, energy, vitals_at, location, state, combat, ended_at, scenario,
    fights_in, bag, closing = unpack(known)

-- Neither a hand-off nor a switch writes these: whoever did has a say in the rest too.
local is_live = location or state

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function is_older(held, arg)
    if is_live or not held or ARGV[arg] == '' then return false end
    return any_unit_ms(held, now) < any_unit_ms(ARGV[arg], now)
end

local missing = {}
local function restore(name, arg)
    if ARGV[arg] == '' then return end
    missing[#missing + 1], missing[#missing + 2] = name, ARGV[arg]
end

if not (hp or energy or vitals_at) or is_older(vitals_at, VITALS_AT) then
    restore('hp', HP)
    restore('energy', ENERGY)
    restore('vitals_at', VITALS_AT)
end
if not (combat or ended_at) or is_older(ended_at, ENDED_AT) then
    restore('last_combat_session_id', COMBAT)
    restore('last_combat_finished_at', ENDED_AT)
end

-- A player does one thing at a time, and what is closing was left.
local function is_idle()
    for _, open in ipairs({scenario or '', fights_in or '', bag or ''}) do
        if open ~= '' then return false end
    end
    local left = ',' .. (closing or '') .. ','
    return not string.find(left, ',' .. ARGV[SCENARIO] .. ',', 1, true)
end
if ARGV[SCENARIO] ~= '' and not is_live and is_idle() then
    restore('scenario_session_id', SCENARIO)
    scenario = ARGV[SCENARIO]
end

-- Even an empty one: from now on the account is whole.
if not location then missing[#missing + 1], missing[#missing + 2] = 'location', ARGV[LOCATION] end
if not state then missing[#missing + 1], missing[#missing + 2] = 'state', ARGV[STATE] end
account_set(KEYS[1], form, missing)

local has_progress = KEYS[2] and scenario == ARGV[SCENARIO]
    and redis.call('EXISTS', KEYS[2]) == 0
if has_progress then
    for i = PROGRESS, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
return (#missing > 0 or has_progress) and 1 or 0
