-- One step of a scan pass over the namespace's keys. KEYS: epoch, scanner. ARGV: epoch, the scanner's id ('' scans
-- without the scanner lease), the lease in ms, cursor, pattern, count.
-- Returns 'keys', the next cursor and the keys; 'another' when another process holds the lease; or 'epoch'.

if get(epoch_key) ~= ARGV[1] then
    return { 'epoch' }
end
if ARGV[2] ~= '' then
    local holder = get(KEYS[2])
    if holder and holder ~= ARGV[2] then
        return { 'another' }
    end
    local leased = redis.pcall('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
    if not leased.ok then -- a replica, or no memory: nothing can be repaired
        return { 'another' }
    end
end
local page = redis.call('SCAN', ARGV[4], 'MATCH', ARGV[5], 'COUNT', ARGV[6])
return { 'keys', page[1], page[2] }
