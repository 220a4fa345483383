-- Stores each price that is newer, by its source's time, than the stored one. KEYS: the prices' keys. ARGV: lifetime in
-- ms, then for each key its time as text that sorts like the times, and the payload. Returns the number of stored prices.

local stored = 0
for i, key in ipairs(KEYS) do
    local time, payload = ARGV[2 * i], ARGV[2 * i + 1]
    local cached = get(key)
    local seen = cached and cached:match('"lastUpdated":"(%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%d)Z"')
    if not seen or seen < time then
        redis.call('SET', key, payload, 'PX', ARGV[1])
        stored = stored + 1
    end
end
return stored
