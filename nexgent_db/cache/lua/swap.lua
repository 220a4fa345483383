-- Compare and set. KEYS: the key. ARGV: the expected value ('' for a missing key), the new value.
-- Returns 1 when the key was set, else 0.

if (get(KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
