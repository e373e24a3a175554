-- Store a reply unless its message was answered meanwhile. Returns false when it was stored; else what was answered,
-- "" where that has expired.
-- KEYS  1 conversation (hash)  2 its latest reply (string)
-- ARGV  1 sequence of the newest message that it answers   2 its data, JSON   3 time to live, s   4 intent   5 order, or ""
--       6 why it was handed over, or ""
if tonumber(ARGV[1]) <= tonumber(redis.call('HGET', KEYS[1], 'answered') or 0) then
  return redis.call('GET', KEYS[2]) or ''
end
redis.call('HSET', KEYS[1], 'answered', ARGV[1], 'intent', ARGV[4], 'order_id', ARGV[5], 'handed_over', ARGV[6])
redis.call('HINCRBY', KEYS[1], 'turns', 1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
return false
