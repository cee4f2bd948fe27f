-- KEYS: account   ARGV: fields
-- Returns their values in that order, or nothing for a foreign type.
return account_get(KEYS[1], unpack(ARGV)) or {}
