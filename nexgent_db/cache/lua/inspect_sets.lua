-- Reads index sets for a comparison. KEYS: epoch. ARGV: epoch, then for each: set, its owner, the prefix of its rows'
-- keys ('' for a set without rows).
-- Returns 'sets' and for each complete set its members and the number of missing rows, for another one nothing; or
-- 'epoch'.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end

local function missing_rows(prefix, members)
    local missing = 0
    for first = 1, #members, 1000 do
        local keys = {}
        for at = first, math.min(first + 999, #members) do
            keys[#keys + 1] = prefix .. members[at]
        end
        missing = missing + #keys - redis.call('EXISTS', unpack(keys))
    end
    return missing
end

local sets = {}
for at = 2, #ARGV, 3 do
    local set, owner, prefix = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local answer = {}
    local size = marked_size(set, owner)
    local members = size and redis.pcall('SMEMBERS', set)
    if members and not members.err and #members == size then
        answer = { members, prefix == '' and 0 or missing_rows(prefix, members) }
    end
    sets[#sets + 1] = answer
end
return { 'sets', sets }
