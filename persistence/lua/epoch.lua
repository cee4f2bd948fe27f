-- Ends every script of a call that promises something; what stands before it is the
-- function `answer`.
-- KEYS: ..., epoch, the caller's counter
-- ARGV: ..., the highest number that the caller was given, life of the counter (s),
--       1 = do nothing where Redis has lost some of what it told the caller
-- Returns {epoch, the number of this call, the answer of the script}. A number that is not
-- above the highest one given before says that what came after it is lost: Redis was
-- emptied, or goes on from an older copy, which has the epoch of the newer one.
local strict, life = table.remove(ARGV), table.remove(ARGV)
local highest = tonumber(table.remove(ARGV))
local counter, epoch_key = table.remove(KEYS), table.remove(KEYS)

-- Of a foreign type it says nil.
local told, epoch = unpack(redis.call('MGET', counter, epoch_key))
local number = (tonumber(told or '') or 0) + 1
redis.call('SET', counter, string.format('%d', number), 'EX', life)
if not epoch then
    local time = redis.call('TIME')
    epoch = redis.sha1hex(time[1] .. ':' .. time[2] .. ':' .. counter)
    redis.call('SET', epoch_key, epoch)
end
if strict == '1' and number <= highest then return {epoch, number} end
return {epoch, number, answer()}
