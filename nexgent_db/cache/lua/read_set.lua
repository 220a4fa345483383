-- Reads an index set and the rows of its members in one round trip.
-- KEYS: epoch. ARGV: epoch, set, its owner, the prefix of its rows' keys ('' for a set without rows), a new load token.
-- Returns 'rows' and the rows (or the members); 'incomplete' and the load token; or 'epoch'.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end
local set, owner, prefix, token = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- The members; nil when their number differs from the marker's.
local function members_of(size)
    local members = redis.pcall('SMEMBERS', set)
    return not members.err and #members == size and members or nil
end

-- The members' rows; nil when one was evicted.
local function rows_of(members)
    local rows = {}
    for first = 1, #members, 1000 do
        local keys = {}
        for at = first, math.min(first + 999, #members) do
            keys[#keys + 1] = prefix .. members[at]
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

local size = marked_size(set, owner)
local members = size and members_of(size)
if members then
    local rows = prefix == '' and members or rows_of(members)
    if rows then
        return { 'rows', rows }
    end
end

local lease = get(set .. '<load_lease>')
if not lease then
    local stored = redis.pcall('SET', set .. '<load_lease>', token, 'PX', <load_lease_ms>)
    lease = stored.ok and token or '' -- a replica, or no memory: nothing can be loaded
end
return { 'incomplete', lease }
