-- Adds to the counters of all processes. KEYS: epoch, statistics. ARGV: epoch, then for each counter its name and the
-- increment.
-- Returns 'counted', or 'epoch'.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end
for at = 2, #ARGV, 2 do
    redis.pcall('HINCRBY', KEYS[2], ARGV[at], ARGV[at + 1])
end
return { 'counted' }
