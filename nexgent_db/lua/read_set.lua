-- An index set and the rows of its members, in one round trip.
-- KEYS: epoch. ARGV: epoch, set, whose set, what the rows' keys begin with ('' for a set without rows), a new token.
-- Returns 'rows' and the rows (or the members), 'incomplete' and the token to complete it with, or 'epoch'.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end
local set, tag, beginning, token = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- nil when it has other members than so many.
local function members_of(size)
    local members = redis.pcall('SMEMBERS', set)
    return not members.err and #members == size and members or nil
end

-- nil when one of them was evicted.
local function rows_of(members)
    local rows = {}
    for first = 1, #members, 1000 do
        local keys = {}
        for at = first, math.min(first + 999, #members) do
            keys[#keys + 1] = beginning .. members[at]
        end
        for _, row in ipairs(redis.call('MGET', unpack(keys))) do
            if not row then
                return nil
            end
            rows[#rows + 1] = row
        end
    end
    return rows
end

local size = marked_size(set, tag)
local members = size and members_of(size)
if members then
    local rows = beginning == '' and members or rows_of(members)
    if rows then
        return { 'rows', rows }
    end
end

local waiting = get(set .. '<filling>')
if not waiting then
    local stored = redis.pcall('SET', set .. '<filling>', token, 'PX', <filling_ms>)
    waiting = stored.ok and token or '' -- a replica, or no memory: nothing can be filled
end
return { 'incomplete', waiting }
