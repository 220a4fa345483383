-- Extends a lock's lease. KEYS: the lock. ARGV: the holder's token, the new lease in ms from now.
-- Returns 1 when the holder still had the lock, else 0.

if get(KEYS[1]) ~= ARGV[1] then
    return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
