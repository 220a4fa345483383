-- Deletes keys unless another epoch has begun. KEYS: epoch. ARGV: epoch, then the keys.
-- Returns 'done'; or 'epoch' when another process has begun another epoch: the keys belong to that one now.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end
for first = 2, #ARGV, 1000 do
    redis.call('UNLINK', unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
return { 'done' }
