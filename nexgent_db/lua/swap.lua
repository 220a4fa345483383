-- Sets a key when it still holds what was seen; '' stands for nothing. KEYS: the key. ARGV: seen, new value.
-- Returns 1 when it did.

if (get(KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
