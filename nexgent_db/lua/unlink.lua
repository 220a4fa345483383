-- Deletes keys while the epoch is still the one in which they are to go. KEYS: epoch. ARGV: epoch, then the keys.
-- Returns 'done'; or 'epoch': somebody else has begun another one meanwhile, and what is there now is his.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end
for first = 2, #ARGV, 1000 do
    redis.call('UNLINK', unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
return { 'done' }
