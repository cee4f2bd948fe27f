-- Included by scripts that open one mode and close another. A closing session stays
-- named in its account until its Saver has it; several are separated by commas.

-- Ours, and those of the game's own that the account has been in.
local function closable(account)
    local modes = {'inventory', 'scenario'}
    local own = account_get(account, 'own_modes')[1]
    for mode in string.gmatch(own or '', '[^,]+') do modes[#modes + 1] = mode end
    return modes, own or ''
end

-- Close the open sessions of `account` and note that they are to be saved.
-- Returns {mode, session id, 1 if the caller is to send a message, ...}.
local function close_sessions(account, form, char_id, intents, sent, keep)
    local closed = {}
    for _, mode in ipairs(closable(account)) do
        local open, closing = mode .. '_session_id', mode .. '_closing_session_id'
        local known = account_get(account, open, closing)
        local sid = known[1]
        if sid and sid ~= '' and sid ~= keep then
            local left = known[2] and known[2] ~= '' and known[2] .. ',' or ''
            account_set(account, form, {closing, left .. sid})
            account_clear(account, form, open)
            local _, to_send = note_intent(intents, sent, mode .. ':' .. char_id)
            for _, value in ipairs({mode, sid, to_send}) do closed[#closed + 1] = value end
        end
    end
    return closed
end
