-- Remembers a value unless there is one. KEYS: where. ARGV: the value, for how many ms. Returns the one that is there.

local earlier = get(KEYS[1])
if earlier then
    return earlier
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
