-- Begins the load of index sets, as read_set does for one. KEYS: epoch. ARGV: epoch, a new load token, then for each: set,
-- '1' when the set is wrong and has to be dropped first.
-- Returns 'tokens' and each set's load token ('' when it cannot be loaded); or 'epoch'.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end
local tokens = {}
for at = 3, #ARGV, 2 do
    local set = ARGV[at]
    if ARGV[at + 1] == '1' then
        drop_set(set)
    end
    local token = get(set .. '<load_lease>')
    if not token then
        local stored = redis.pcall('SET', set .. '<load_lease>', ARGV[2], 'PX', <load_lease_ms>)
        token = stored.ok and ARGV[2] or ''
    end
    tokens[#tokens + 1] = token
end
return { 'tokens', tokens }
