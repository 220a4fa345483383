-- Gives a lock's holder more time. KEYS: the lock. ARGV: the holder's token, for how many ms from now.
-- Returns 1 when the lock was still the holder's.

if get(KEYS[1]) ~= ARGV[1] then
    return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
