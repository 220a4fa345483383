-- Stores an operation's result unless one is stored. KEYS: the operation. ARGV: the result, its lifetime in ms.
-- Returns the stored result.

local earlier = get(KEYS[1])
if earlier then
    return earlier
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
