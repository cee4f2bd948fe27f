-- Included by scripts that open one mode and close another. A closing session stays
-- named in its account until its Saver has it; several are separated by commas.
local CLOSABLE = {'inventory', 'scenario'}

-- Close the open sessions of `account` and note that they are to be saved.
-- Returns {mode, session id, 1 if the caller is to send a message, ...}.
local function close_sessions(account, form, char_id, intents, sent, keep)
    local closed = {}
    for _, mode in ipairs(CLOSABLE) do
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
