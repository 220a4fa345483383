-- One step of a walk over the namespace's keys. KEYS: epoch, sweeper. ARGV: epoch, who walks ('' does not take turns), for
-- how long he is the one (in ms), cursor, pattern, count.
-- Returns 'keys', the next cursor and the keys; 'another' when somebody else walks; or 'epoch'.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end
if ARGV[2] ~= '' then
    local holder = get(KEYS[2])
    if holder and holder ~= ARGV[2] then
        return { 'another' }
    end
    local held = redis.pcall('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
    if not held.ok then -- a replica, or no memory: nothing can be mended
        return { 'another' }
    end
end
local found = redis.call('SCAN', ARGV[4], 'MATCH', ARGV[5], 'COUNT', ARGV[6])
return { 'keys', found[1], found[2] }
