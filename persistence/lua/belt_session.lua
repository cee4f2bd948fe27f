-- Included by the scripts of the belts.
-- Whether a combat can use a belt: 'active'; 'absent' where it is not known (yet); 'over'
-- where it has ended or its result is known. Foreign types are no session.
local function belt_session(session, result)
    if redis.pcall('HEXISTS', result, 'sha256') == 1 then return 'over' end
    if redis.call('TYPE', session).ok ~= 'hash' then return 'absent' end
    local status = redis.call('HGET', session, 'status')
    if not status then return 'absent' end
    return status == 'active' and 'active' or 'over'
end
