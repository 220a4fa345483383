-- What the scripts share. The placeholders between < and > are filled in by nexgent_db/_cache_scripts.py.
--
-- A cached row is a string that begins with {"version":N. Beside a row's key may stand:
--   <floor>     a version below which nothing is stored any more: the last that was committed, though it be evicted.
-- An index set is a plain set of members. Beside its key may stand:
--   <complete>  how many members it has, and whose set it is: while that is so, the set is complete.
--   <filling>   a token. Whoever saw it before reading the database may complete the set with what he read, unless a
--               change of its members has removed the token meanwhile.
-- What is missing is never wrong: a reader without a row, or without a complete set, asks the database.

local epoch_key = KEYS[1]

-- Versions as the text they are: a Lua number is exact to 2^53 only.
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

-- nil for what is not there or is no string.
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
    redis.call('UNLINK', set, set .. '<complete>', set .. '<filling>')
end

-- How many members a set has if it is complete; nil when it is not, or is another's.
local function marked_size(set, tag)
    local marker = get(set .. '<complete>')
    if not marker then
        return nil
    end
    local size, whose = marker:match('^(%d+) (.*)$')
    return whose == tag and tonumber(size) or nil
end
