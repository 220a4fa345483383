-- Lets index sets be completed, as read_set does for one. KEYS: epoch. ARGV: epoch, a new token, then for each: set, '1'
-- when what it holds is wrong and goes, whatever it is.
-- Returns 'tokens' and the token to complete each with ('' when it cannot be); or 'epoch'.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end
local tokens = {}
for at = 3, #ARGV, 2 do
    local set = ARGV[at]
    if ARGV[at + 1] == '1' then
        drop_set(set)
    end
    local waiting = get(set .. '<filling>')
    if not waiting then
        local stored = redis.pcall('SET', set .. '<filling>', ARGV[2], 'PX', <filling_ms>)
        waiting = stored.ok and ARGV[2] or ''
    end
    tokens[#tokens + 1] = waiting
end
return { 'tokens', tokens }
