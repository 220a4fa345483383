-- Brings changes into the cache, and what readers missed. KEYS: epoch, watermark. ARGV: epoch, when the changes were
-- begun (by this server's clock, in ms), the highest version among them, then one operation after another:
--
--   set, delete, fence, fill:
--     operation, version, row's key, payload,
--     number of sets, for each: set, whose set, member, '+' or '-',
--     number of companions, for each: key, value
--   force: as fill, with the payload to be replaced, whatever its version, before the number of sets
--   ghost: as delete, with the payload that has no row in the database: another one stays
--   drop:      operation, set
--   complete:  operation, set, whose set, token, number of members, each member
--
-- set     a committed row: stored unless a newer one is known; its sets follow.
-- delete  a committed deletion.
-- fence   nothing older than this version may be served or stored: what a change means of which only the version is known.
-- fill    a row that a reader found in the database.
-- Returns 'done', this server's time in ms, and how many rows became newer; or 'epoch'; or 'failed' and why.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch', now_ms() }
end

local now = now_ms()
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

local function raise_floor(key, version)
    local floor = get(key .. '<floor>')
    if not floor or not newer(floor, version) then
        floor = version
    end
    write('SET', key .. '<floor>', floor, 'PX', <floor_ms>)
end

local function take_row(operation)
    local row = { version = take(), key = take(), payload = take(), sets = {}, companions = {} }
    if operation == 'force' then
        row.replaced = take()
    end
    for i = 1, tonumber(take()) do
        row.sets[i] = { key = take(), tag = take(), member = take(), sign = take() }
    end
    for i = 1, tonumber(take()) do
        row.companions[i] = { key = take(), value = take() }
    end
    return row
end

local function drop_sets(row)
    for _, set in ipairs(row.sets) do
        drop_set(set.key)
    end
end

-- Whether the set is incomplete, or holds or lacks the member as it should.
local function agrees(set)
    if not complete_size(set.key, set.tag) then
        return false
    end
    return redis.call('SISMEMBER', set.key, set.member) == (set.sign == '+' and 1 or 0)
end

local function drop_sets_that_differ(row)
    for _, set in ipairs(row.sets) do
        if not agrees(set) then
            drop_set(set.key)
        end
    end
end

local function move_members(row)
    for _, set in ipairs(row.sets) do
        local size = complete_size(set.key, set.tag)
        if size then
            local moved
            if set.sign == '+' then
                moved = write('SADD', set.key, set.member)
                size = size + (moved == 1 and 1 or 0)
            else
                moved = write('SREM', set.key, set.member)
                size = size - (moved == 1 and 1 or 0)
            end
            if moved == 1 then
                write('SET', set.key .. '<complete>', size .. ' ' .. set.tag)
            end
        else
            drop_set(set.key)
        end
    end
end

local function store(row)
    write('SET', row.key, row.payload)
    for _, companion in ipairs(row.companions) do
        write('SET', companion.key, companion.value)
    end
end

local function forget(row)
    redis.call('UNLINK', row.key)
    for _, companion in ipairs(row.companions) do
        redis.call('UNLINK', companion.key)
    end
end

local function fence(row)
    local cached = version_of(get(row.key))
    if not cached or newer(row.version, cached) then
        forget(row)
        raise_floor(row.key, row.version)
        drop_sets(row)
    else
        drop_sets_that_differ(row)
    end
end

local function below_floor(row)
    local floor = get(row.key .. '<floor>')
    return floor and newer(floor, row.version)
end

local apply = {}

function apply.set(row)
    if late then
        fence(row)
        return
    end
    local cached = version_of(get(row.key))
    if below_floor(row) then
        drop_sets_that_differ(row)
    elseif cached and newer(cached, row.version) then
        drop_sets_that_differ(row)
    else
        if cached ~= row.version then
            changed = changed + 1
        end
        store(row)
        move_members(row)
    end
end

function apply.delete(row)
    local payload = get(row.key)
    local cached = version_of(payload)
    if cached and newer(cached, row.version) then
        drop_sets(row)
        return
    end
    if payload then
        changed = changed + 1
    end
    forget(row)
    raise_floor(row.key, row.version)
    move_members(row)
end

apply.fence = fence

function apply.fill(row)
    if late or below_floor(row) then
        return
    end
    local payload = get(row.key)
    local cached = version_of(payload)
    if not cached or not newer(cached, row.version) or payload == row.replaced then
        store(row)
    end
end

apply.force = apply.fill

function apply.ghost(row)
    if get(row.key) == row.payload then
        changed = changed + 1
        forget(row)
        raise_floor(row.key, row.version)
        move_members(row)
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
        touched[#touched + 1] = { sets = { { key = set } } }
    else
        local row = take_row(operation)
        touched[#touched + 1] = row
        if operation == 'fill' and below_floor(row) then
            refused = true
        end
        apply[operation](row)
    end
end

if failure then -- no memory: nothing remains that could be old
    for _, row in ipairs(touched) do
        if row.key then
            forget(row)
        end
        drop_sets(row)
    end
    return { 'failed', now, failure }
end

local watermark = get(KEYS[2])
if not watermark or newer(ARGV[3], watermark) then
    write('SET', KEYS[2], ARGV[3])
end
return { 'done', now, changed }
