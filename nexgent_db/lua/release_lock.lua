-- Gives a lock back. KEYS: the lock. ARGV: the holder's token. Returns 1 when the lock was still the holder's.

if get(KEYS[1]) ~= ARGV[1] then
    return 0
end
return redis.call('UNLINK', KEYS[1])
