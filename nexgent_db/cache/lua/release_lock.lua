-- Releases a lock. KEYS: the lock. ARGV: the holder's token. Returns 1 when the holder still had the lock, else 0.

if get(KEYS[1]) ~= ARGV[1] then
    return 0
end
return redis.call('UNLINK', KEYS[1])
