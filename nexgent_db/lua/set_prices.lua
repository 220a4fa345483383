-- Prices, each kept when it is newer by its source's time. KEYS: the prices' keys. ARGV: lifetime in ms, then for each
-- key its time as text that sorts like the times, and the payload. Returns how many were kept.

local kept = 0
for i, key in ipairs(KEYS) do
    local time, payload = ARGV[2 * i], ARGV[2 * i + 1]
    local cached = get(key)
    local seen = cached and cached:match('"lastUpdated":"(%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%d)Z"')
    if not seen or seen < time then
        redis.call('SET', key, payload, 'PX', ARGV[1])
        kept = kept + 1
    end
end
return kept
