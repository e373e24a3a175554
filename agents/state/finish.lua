-- Store a result unless a newer one is stored. Returns 1 when it was stored, 0 when it is too old.
-- KEYS  1 meta (hash)  2 recommendations (string)
-- ARGV  1 history_version of the result   2 its data, JSON   3 time to live, s   4 the offsets it covers, msgpack
local stored = tonumber(redis.call('HGET', KEYS[1], 'result_version') or -1)
if tonumber(ARGV[1]) < stored then return 0 end
redis.call('HSET', KEYS[1], 'result_version', ARGV[1], 'covers', ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
return 1
