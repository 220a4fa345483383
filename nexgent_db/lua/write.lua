-- Brings changes into the cache, and what readers missed. KEYS: epoch, watermark. ARGV: epoch, when the changes were
-- begun (by this server's clock, in ms), the highest version among them, then one operation after another:
--
--   set, delete, fence, fill:
--     operation, version, row's key, payload,
--     number of sets, for each: set, whose set, member, '+' or '-',
--     number of companions, for each: key, value
--   force: as fill, with the payload to be replaced, whatever its version, before the number of sets
--   ghost: as delete, with the payload that has no row in the database ('' when there are only companions): another stays
--   drop:      operation, set
--   complete:  operation, set, whose set, token, number of members, each member
--
-- set     a committed row: stored unless a newer one is known; its sets follow.
-- delete  a committed deletion.
-- fence   nothing older than this version may be served or stored: what a change means of which only the version is known.
-- fill    a row that a reader found in the database.
-- Returns 'done', this server's time in ms, and how many rows became newer; or 'epoch'; or 'failed' and why.

local now = now_ms()
if get(epoch_key) ~= ARGV[1] then
    return { 'epoch', now }
end

-- A floor may be gone by then: what comes so late may be older than a deletion that nobody remembers.
local late = now - tonumber(ARGV[2]) > <latest_ms>
local changed = 0
local failure
local at = 4

local function take()
    local value = ARGV[at]
    at = at + 1
    return value
end

local function write(...)
    local answer = redis.pcall(...)
    if type(answer) == 'table' and answer.err then
        failure = answer.err
    end
    return answer
end

local function below_floor(row)
    local floor = get(row.key .. '<floor>')
    return floor and newer(floor, row.version) and floor
end

-- Every commit is remembered, whatever is cached: that may be evicted, and a reader may come with what he read before.
-- Whether a newer one was.
local function raise_floor(row)
    local floor = below_floor(row)
    write('SET', row.key .. '<floor>', floor or row.version, 'PX', <floor_ms>)
    return floor
end

-- Sets and companions are left where they are, tables of them would cost more than what is done with them.
local function take_row(operation)
    local row = { version = take(), key = take(), payload = take() }
    if operation == 'force' then
        row.replaced = take()
    end
    row.sets = tonumber(take())
    row.first_set = at
    at = at + 4 * row.sets
    row.companions = tonumber(take())
    row.first_companion = at
    at = at + 2 * row.companions
    return row
end

-- Calls with each set of the row: the set, whose it is, the member, '+' or '-'.
local function for_each_set(row, apply)
    for first = row.first_set, row.first_set + 4 * (row.sets - 1), 4 do
        apply(ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3])
    end
end

-- Calls with each companion of the row: its key, its value.
local function for_each_companion(row, apply)
    for first = row.first_companion, row.first_companion + 2 * (row.companions - 1), 2 do
        apply(ARGV[first], ARGV[first + 1])
    end
end

-- Unless the set is complete, and holds or lacks the member as it should.
local function drop_if_it_differs(set, tag, member, sign)
    local size = marked_size(set, tag)
    local agrees = size
        and redis.pcall('SCARD', set) == size
        and redis.call('SISMEMBER', set, member) == (sign == '+' and 1 or 0)
    if not agrees then
        drop_set(set)
    end
end

-- A set that was evicted has fewer members than its marker says, and remains so many short whatever is added or removed
-- here: it need not be counted.
local function move_member(set, tag, member, sign)
    local size = marked_size(set, tag)
    if not size then
        redis.call('UNLINK', set .. '<filling>') -- whoever reads meanwhile cannot complete it
        return
    end
    local moved = redis.pcall(sign == '+' and 'SADD' or 'SREM', set, member)
    if moved == 1 then
        write('SET', set .. '<complete>', size + (sign == '+' and 1 or -1) .. ' ' .. tag)
    elseif moved ~= 0 then -- no set, or no memory
        drop_set(set)
    end
end

local function store(row)
    write('SET', row.key, row.payload)
    for_each_companion(row, function(key, value)
        write('SET', key, value)
    end)
end

local function forget(row)
    redis.call('UNLINK', row.key)
    for_each_companion(row, function(key)
        redis.call('UNLINK', key)
    end)
end

-- The version that is cached. What was cached before is remembered: should memory run out, it may have to go.
local function cached_version(row, payload)
    row.was = version_of(payload)
    return row.was
end

local function fence(row)
    local cached = cached_version(row, get(row.key))
    raise_floor(row)
    if not cached or newer(row.version, cached) then
        forget(row)
        for_each_set(row, drop_set)
    else
        for_each_set(row, drop_if_it_differs)
    end
end

local apply = {}

function apply.set(row)
    if late then
        fence(row)
        return
    end
    local cached = cached_version(row, get(row.key))
    if raise_floor(row) then
        for_each_set(row, drop_if_it_differs)
    elseif cached and newer(cached, row.version) then
        for_each_set(row, drop_if_it_differs)
    else
        if cached ~= row.version then
            changed = changed + 1
        end
        store(row)
        for_each_set(row, move_member)
    end
end

function apply.delete(row)
    local payload = get(row.key)
    local cached = cached_version(row, payload)
    raise_floor(row)
    if cached and newer(cached, row.version) then
        for_each_set(row, drop_set)
        return
    end
    if payload then
        changed = changed + 1
    end
    forget(row)
    for_each_set(row, move_member)
end

apply.fence = fence

function apply.fill(row)
    if late or below_floor(row) then
        return
    end
    local payload = get(row.key)
    local cached = cached_version(row, payload)
    if not cached or not newer(cached, row.version) or payload == row.replaced then
        store(row)
    end
end

function apply.force(row)
    if below_floor(row) and get(row.key) == row.replaced then -- what was there is wrong, what was read too old
        forget(row)
    end
    apply.fill(row)
end

function apply.ghost(row)
    if (get(row.key) or '') == row.payload then
        changed = changed + 1
        forget(row)
        raise_floor(row)
        for_each_set(row, move_member)
    end
end

-- The set is as it was read when nothing changed its members meanwhile, and every row of it may be stored.
local function complete(set, tag, token, members, refused)
    if late or refused or token == '' or get(set .. '<filling>') ~= token then
        return
    end
    drop_set(set)
    for first = 1, #members, 1000 do
        write('SADD', set, unpack(members, first, math.min(first + 999, #members)))
    end
    write('SET', set .. '<complete>', #members .. ' ' .. tag)
end

local touched = {}
local refused = false
while at <= #ARGV do
    local operation = take()
    if operation == 'drop' then
        drop_set(take())
    elseif operation == 'complete' then
        local set, tag, token, members = take(), take(), take(), {}
        for i = 1, tonumber(take()) do
            members[i] = take()
        end
        complete(set, tag, token, members, refused)
        touched[#touched + 1] = set
    else
        local row = take_row(operation)
        touched[#touched + 1] = row
        if operation == 'fill' and below_floor(row) then
            refused = true
        end
        apply[operation](row)
    end
end

-- No memory: nothing remains that could be old. But what was no older than what was to be stored does: where nothing
-- is cached and nothing is waiting in the database, a reader who comes late may store what he read long ago.
if failure then
    for _, row in ipairs(touched) do
        if type(row) == 'table' then
            if not row.was or newer(row.version, row.was) then
                forget(row)
            end
            for_each_set(row, drop_set)
        else
            drop_set(row)
        end
    end
    return { 'failed', now, failure }
end

local watermark = get(KEYS[2])
if not watermark or newer(ARGV[3], watermark) then
    write('SET', KEYS[2], ARGV[3])
end
return { 'done', now, changed }
