-- Index sets as they are, to be compared. KEYS: epoch. ARGV: epoch, then for each: set, whose set, what the rows' keys
-- begin with ('' for a set without rows).
-- Returns 'sets' and for each its members and how many of their rows are missing, or nothing when it is not complete; or
-- 'epoch'.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end

local function missing_rows(beginning, members)
    local missing = 0
    for first = 1, #members, 1000 do
        local keys = {}
        for at = first, math.min(first + 999, #members) do
            keys[#keys + 1] = beginning .. members[at]
        end
        missing = missing + #keys - redis.call('EXISTS', unpack(keys))
    end
    return missing
end

local sets = {}
for at = 2, #ARGV, 3 do
    local set, tag, beginning = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local found = {}
    local size = marked_size(set, tag)
    local members = size and redis.pcall('SMEMBERS', set)
    if members and not members.err and #members == size then
        found = { members, beginning == '' and 0 or missing_rows(beginning, members) }
    end
    sets[#sets + 1] = found
end
return { 'sets', sets }
