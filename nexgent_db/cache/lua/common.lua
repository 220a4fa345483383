-- What the scripts share. nexgent_db/cache/scripts.py fills in the placeholders between < and >.
--
-- A cached row is a string that begins with {"version":N. Beside a row's key may stand:
--   <fence>       the minimum-version fence: the last committed version. No older row is stored, even after an eviction.
-- An index set is a plain set of members. Beside its key may stand:
--   <complete>    the number of members and the set's owner. The set is complete while both are right.
--   <load_lease>  a load token. A reader that got it before it read the database may complete the set with its rows. A
--                 change of the members deletes the token, and the reader's load is refused.
-- A missing key is never wrong: a reader without a row, or without a complete set, asks the database.

local epoch_key = KEYS[1]

-- Compares versions as text: a Lua number is exact to 2^53 only.
local function newer(a, b)
    if #a ~= #b then
        return #a > #b
    end
    return a > b
end

local function now_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The value; nil when the key is missing or holds no string.
local function get(key)
    local value = redis.pcall('GET', key)
    if type(value) == 'string' then
        return value
    end
    return nil
end

local function version_of(payload)
    return payload and payload:match('^{"version":(%d+)[,}]')
end

local function drop_set(set)
    redis.call('UNLINK', set, set .. '<complete>', set .. '<load_lease>')
end

-- The number of members of a complete set; nil when the set is incomplete or has another owner.
local function marked_size(set, owner)
    local marker = get(set .. '<complete>')
    if not marker then
        return nil
    end
    local size, marked_owner = marker:match('^(%d+) (.*)$')
    return marked_owner == owner and tonumber(size) or nil
end
