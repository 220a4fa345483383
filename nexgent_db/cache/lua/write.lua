-- Applies committed changes, and rows that readers loaded. KEYS: epoch, watermark. ARGV: epoch, when the work started
-- (by this server's clock, in ms), the highest version of the batch, then one operation after another:
--
--   set, delete, fence, fill:
--     operation, version, row's key, payload,
--     number of sets, for each: set, its owner, member, '+' or '-',
--     number of linked keys, for each: key, value
--   force: as fill, with the payload to be replaced, whatever its version, before the number of sets
--   orphan: as delete, with the cached payload that has no row in the database ('' when only linked keys are cached); any
--           other payload stays
--   drop:      operation, set
--   complete:  operation, set, its owner, load token, number of members, each member
--
-- set     stores a committed row unless a newer one is known; its sets follow.
-- delete  applies a committed deletion.
-- fence   forbids to serve or store anything older than this version: for a change of which only the version is known.
-- fill    stores a row that a reader found in the database.
-- Returns 'done', this server's time in ms, and the number of rows that became newer; or 'epoch'; or 'failed' and why.

local now = now_ms()
if get(epoch_key) ~= ARGV[1] then
    return { 'epoch', now }
end

-- The fence may have expired: a write that comes so late may be older than a deletion that left no trace.
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

local function below_fence(row)
    local minimum = get(row.key .. '<fence>')
    return minimum and newer(minimum, row.version) and minimum
end

-- Every commit raises the fence, whatever is cached: the row may be evicted, and a slow reader may still bring an older
-- one. Returns the fence when it is newer than the row.
local function raise_fence(row)
    local minimum = below_fence(row)
    write('SET', row.key .. '<fence>', minimum or row.version, 'PX', <fence_ms>)
    return minimum
end

-- Sets and linked keys stay in ARGV: tables of them would cost more than the work on them.
local function take_row(operation)
    local row = { version = take(), key = take(), payload = take() }
    if operation == 'force' then
        row.replaced = take()
    end
    row.sets = tonumber(take())
    row.first_set = at
    at = at + 4 * row.sets
    row.linked = tonumber(take())
    row.first_linked = at
    at = at + 2 * row.linked
    return row
end

-- Calls apply for each set of the row with the set, its owner, the member, '+' or '-'.
local function for_each_set(row, apply)
    for first = row.first_set, row.first_set + 4 * (row.sets - 1), 4 do
        apply(ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3])
    end
end

-- Calls apply for each linked key of the row with the key and its value.
local function for_each_linked_key(row, apply)
    for first = row.first_linked, row.first_linked + 2 * (row.linked - 1), 2 do
        apply(ARGV[first], ARGV[first + 1])
    end
end

-- Keeps a complete set that holds or lacks the member as the sign says.
local function drop_if_it_differs(set, owner, member, sign)
    local size = marked_size(set, owner)
    local agrees = size
        and redis.pcall('SCARD', set) == size
        and redis.call('SISMEMBER', set, member) == (sign == '+' and 1 or 0)
    if not agrees then
        drop_set(set)
    end
end

-- An evicted set has fewer members than its marker says. Every later SADD or SREM keeps that difference, so the members
-- need not be counted here.
local function move_member(set, owner, member, sign)
    local size = marked_size(set, owner)
    if not size then
        redis.call('UNLINK', set .. '<load_lease>') -- a concurrent reader cannot complete the set
        return
    end
    local moved = redis.pcall(sign == '+' and 'SADD' or 'SREM', set, member)
    if moved == 1 then
        write('SET', set .. '<complete>', size + (sign == '+' and 1 or -1) .. ' ' .. owner)
    elseif moved ~= 0 then -- no set, or no memory
        drop_set(set)
    end
end

local function store(row)
    write('SET', row.key, row.payload)
    for_each_linked_key(row, function(key, value)
        write('SET', key, value)
    end)
end

local function forget(row)
    redis.call('UNLINK', row.key)
    for_each_linked_key(row, function(key)
        redis.call('UNLINK', key)
    end)
end

-- The cached version, noted in row.was: when memory runs out, that row may have to go.
local function cached_version(row, payload)
    row.was = version_of(payload)
    return row.was
end

local function fence(row)
    local cached = cached_version(row, get(row.key))
    raise_fence(row)
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
    if raise_fence(row) then
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
    raise_fence(row)
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
    if late or below_fence(row) then
        return
    end
    local payload = get(row.key)
    local cached = cached_version(row, payload)
    if not cached or not newer(cached, row.version) or payload == row.replaced then
        store(row)
    end
end

function apply.force(row)
    if below_fence(row) and get(row.key) == row.replaced then -- the cached row is wrong, the loaded one too old
        forget(row)
    end
    apply.fill(row)
end

function apply.orphan(row)
    if (get(row.key) or '') == row.payload then
        changed = changed + 1
        forget(row)
        raise_fence(row)
        for_each_set(row, move_member)
    end
end

-- Completes the set when its members have not changed since the load started, and no row of it was refused.
local function complete(set, owner, token, members, refused)
    if late or refused or token == '' or get(set .. '<load_lease>') ~= token then
        return
    end
    drop_set(set)
    for first = 1, #members, 1000 do
        write('SADD', set, unpack(members, first, math.min(first + 999, #members)))
    end
    write('SET', set .. '<complete>', #members .. ' ' .. owner)
end

local touched = {}
local refused = false
while at <= #ARGV do
    local operation = take()
    if operation == 'drop' then
        drop_set(take())
    elseif operation == 'complete' then
        local set, owner, token, members = take(), take(), take(), {}
        for i = 1, tonumber(take()) do
            members[i] = take()
        end
        complete(set, owner, token, members, refused)
        touched[#touched + 1] = set
    else
        local row = take_row(operation)
        touched[#touched + 1] = row
        if operation == 'fill' and below_fence(row) then
            refused = true
        end
        apply[operation](row)
    end
end

-- No memory: drop every row that could be outdated. A row that is not older than the one to be stored stays: with
-- nothing cached and nothing in the outbox, a late reader could store a row that it read long ago.
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
