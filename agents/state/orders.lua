-- Write one order unless a newer record of it is there; the order of records is that of their timestamps, as in the
-- compacted log they come from. Returns what was there before ("" where nothing was), or nil where nothing was written.
-- KEYS  1 order (hash)
-- ARGV  1 record timestamp, ms   2 JSON, or "" for a withdrawal   3 time to live, s
if tonumber(redis.call('HGET', KEYS[1], 'as_of') or 0) > tonumber(ARGV[1]) then return false end
local before = redis.call('HGET', KEYS[1], 'data') or ''
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'as_of', ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'data', ARGV[2]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return before
