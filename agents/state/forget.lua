-- Delete a visitor's state once its user has it, unless it changed since it was read. Returns 1 when it was deleted.
-- KEYS  1 meta (hash)  2.. what to delete
-- ARGV  1 the version that was read
if tonumber(redis.call('HGET', KEYS[1], 'version') or 0) ~= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', unpack(KEYS, 2))
redis.call('HDEL', KEYS[1], 'last')  -- what is remembered of this version is not the state any more
return 1
