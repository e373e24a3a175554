-- Write one fact about an item unless a newer one is there, or only look. Returns 1 while the item can be bought, else 0.
-- The order of facts is the order of their records' timestamps, as in the compacted log they come from.
--
-- KEYS  1 item (hash)  2 stock (hash: location -> JSON)  3 stock times (hash: location -> ms)
-- ARGV  1 "item" | "stock" | "look"   2 record timestamp, ms   3 location   4 JSON, or "" for a withdrawal
local kind, time, location, json = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local WITHDRAWN_TTL_S = 90 * 86400

if kind == 'item' then
  if tonumber(redis.call('HGET', KEYS[1], 'as_of') or 0) <= time then
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'as_of', ARGV[2])
    if json == '' then
      redis.call('HSET', KEYS[1], 'withdrawn', '1')
      redis.call('EXPIRE', KEYS[1], WITHDRAWN_TTL_S)
    else
      for field, value in pairs(cjson.decode(json)) do
        if type(value) == 'table' then value = cjson.encode(value) end
        if value ~= cjson.null then redis.call('HSET', KEYS[1], field, tostring(value)) end
      end
    end
  end
elseif kind == 'stock' and tonumber(redis.call('HGET', KEYS[3], location) or 0) <= time then
  redis.call('HSET', KEYS[3], location, ARGV[2])
  if json == '' then redis.call('HDEL', KEYS[2], location) else redis.call('HSET', KEYS[2], location, json) end
end

if redis.call('HEXISTS', KEYS[1], 'withdrawn') == 1 then return 0 end
local levels, on_hand = redis.call('HVALS', KEYS[2]), 0
for _, level in ipairs(levels) do on_hand = on_hand + math.max(0, cjson.decode(level).on_hand) end
return (#levels == 0 or on_hand > 0) and 1 or 0
