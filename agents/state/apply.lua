-- Apply new events to one user's state, and return what the model needs. One call per user and chunk.
-- An event that was applied before (by its 8-byte id) changes nothing. Every part is free of order: a late event
-- leaves the same state as a timely one (the counters up to rounding).
--
-- KEYS  1 meta (hash)  2 history (sorted set)  3 counters (hash)  4 cart (hash)  5 seen ids (string)
-- ARGV  1 time to live, s   2 "1": only for this session   3 changes (msgpack, see changes.py)   4 their ids, 8 bytes each
--       5 a visitor whose history these changes are, or the user who gets this visitor's, or ""
--       6 the offsets of the records that the changes came in (msgpack), or ""
--       7 of a state that the caller remembers (snapshots.py), the version, or ""   8 and the id of its last event
-- Returns msgpack [version, event_time_ms, new events, version of the stored result, what a result must cover besides
-- these records, linked visitor or user, UserState]; UserState as in schemas/inference.py. What must be covered besides:
-- what the stored result covers, and the records of earlier new events that no stored result reflects. Whoever applied
-- those may have been killed, and whoever reads them again may find them older than a result that does not name them.
--
-- To pack a UserState takes longer than all the rest. Where the caller remembers the state as it was, and all new lines
-- are newer than the others, they stand in its place, newest first, and after them nil, or what else has changed: counters
-- (as in UserState) and parts of the cart with their new values.

local HISTORY, SEEN, ITEMS, CART = 128, 1024, 512, 128
local DAY_MS = 86400000
local FAST_MS, SLOW_MS = 30 * DAY_MS, 200 * DAY_MS

local ttl, session = tonumber(ARGV[1]), ARGV[2] == '1'
local changes, ids = cmsgpack.unpack(ARGV[3]), ARGV[4]
local meta = redis.call('HMGET', KEYS[1], 'version', 'event_time', 'result_version', 'covers', 'linked', 'open', 'last')
local version, event_time = tonumber(meta[1] or 0), tonumber(meta[2] or 0)
local result_version, covers, linked = tonumber(meta[3] or -1), meta[4] or '\144', meta[5] or ''
local seen = redis.call('GET', KEYS[5]) or ''
-- the version alone would not do: when Redis lost its last second, other events may have brought it there again
local remembered = tonumber(ARGV[7]) == version and ARGV[8] == meta[7]
local last
local new_lines, new_counters, new_cart = 0, {}, {}
local open = {}  -- of each call with new events that no stored result reflects: the version after it, its offsets
for _, entry in ipairs(meta[6] and cmsgpack.unpack(meta[6]) or {}) do
  if entry[1] > result_version then open[#open + 1] = entry end
end
if #open > 0 then
  local all = cmsgpack.unpack(covers)
  for _, entry in ipairs(open) do
    for _, run in ipairs(entry[2]) do all[#all + 1] = run end
  end
  covers = cmsgpack.pack(all)
end

local function known(id)
  local from = 1
  while true do
    local at = string.find(seen, id, from, true)
    if not at then return false end
    if at % 8 == 1 then return true end
    from = at + 1
  end
end

local function count(item, time, sign)
  local fast, slow, at = 0, 0, time
  local packed = redis.call('HGET', KEYS[3], item)
  if packed then fast, slow, at = struct.unpack('<ddd', packed) end
  if time > at then
    fast = fast * 2 ^ ((at - time) / FAST_MS) + sign
    slow = slow * 2 ^ ((at - time) / SLOW_MS) + sign
    at = time
  else
    fast = fast + sign * 2 ^ ((time - at) / FAST_MS)
    slow = slow + sign * 2 ^ ((time - at) / SLOW_MS)
  end
  packed = struct.pack('<ddd', fast, slow, at)
  redis.call('HSET', KEYS[3], item, packed)
  new_counters[item] = packed
end

-- the newest of into and out decides; at the same time, out
local function cart(item, time, sign)
  local stored = tonumber(redis.call('HGET', KEYS[4], item) or 0)
  if math.abs(stored) < time or (sign < 0 and math.abs(stored) == time) then
    new_cart[item] = string.format('%.0f', sign * time)
    redis.call('HSET', KEYS[4], item, new_cart[item])
  end
end

-- At the limit the oldest line goes before a new one comes: with one more than 128, Redis would turn its compact encoding
-- into one that takes twice the memory, and never back.
local kept
local function remember(time, member, lines)
  kept = kept or redis.call('ZCARD', KEYS[2])
  if kept < HISTORY then
    kept = kept + redis.call('ZADD', KEYS[2], time, member)
  elseif time > event_time and lines <= HISTORY then
    redis.call('ZREMRANGEBYRANK', KEYS[2], 0, 0)
    redis.call('ZADD', KEYS[2], time, member)
  elseif time >= tonumber(redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]) then
    redis.call('ZADD', KEYS[2], time, member)
    redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -HISTORY - 1)
  end
  remembered = remembered and time > event_time and lines <= HISTORY
  new_lines = new_lines + 1
end

-- keep the `limit` fields that rank highest; `rank` tells of a value
local function trim(key, limit, rank)
  if redis.call('HLEN', key) <= limit then return end
  local flat, ranked = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do ranked[#ranked + 1] = { flat[i], rank(flat[i + 1]) } end
  table.sort(ranked, function(a, b) return a[2] == b[2] and a[1] < b[1] or a[2] > b[2] end)
  for i = limit + 1, #ranked do redis.call('HDEL', key, ranked[i][1]) end
  remembered = false
end

-- What is left is read first: most users come again within a hundredth of it, and a write goes to the append-only file too.
local function renew(key, longer_stays)
  local left = redis.call('TTL', key)
  if left < ttl * 0.99 or (left > ttl and not longer_stays) then redis.call('EXPIRE', key, ttl) end
end

local fresh = 0
for i, change in ipairs(changes) do
  local id = string.sub(ids, i * 8 - 7, i * 8)
  if not known(id) then
    fresh, seen, last = fresh + 1, seen .. id, id
    local time, members, bought, refunded, into_cart, out_of_cart = unpack(change)
    for _, member in ipairs(members) do remember(time, member, #members) end
    for _, item in ipairs(bought) do count(item, time, 1) end
    for _, item in ipairs(refunded) do count(item, time, -1) end
    for _, item in ipairs(into_cart) do cart(item, time, 1) end
    for _, item in ipairs(out_of_cart) do cart(item, time, -1) end
    if time > event_time then event_time = time end
  end
end

if ARGV[5] ~= '' then
  linked = ARGV[5]
  redis.call('HSET', KEYS[1], 'linked', linked)
end
if fresh > 0 then
  version = version + fresh
  if ARGV[6] ~= '' then open[#open + 1] = { version, cmsgpack.unpack(ARGV[6]) } end
  redis.call('HSET', KEYS[1], 'version', version, 'event_time', string.format('%.0f', event_time), 'last', last,
    'open', #open > 0 and cmsgpack.pack(open) or '\144')
  redis.call('SET', KEYS[5], string.sub(seen, -8 * SEEN), 'EX', ttl)
  trim(KEYS[3], ITEMS, function(packed)
    local _, slow, at = struct.unpack('<ddd', packed)
    return slow * 2 ^ ((at - event_time) / SLOW_MS)
  end)
  trim(KEYS[4], CART, function(time) return math.abs(tonumber(time)) end)
end
if #changes > 0 or ARGV[5] ~= '' then
  for i = 2, 5 do renew(KEYS[i]) end
  -- the version outlives a session without consent only as long as the user's own state does
  renew(KEYS[1], session)
end

local head = cmsgpack.pack(version) .. cmsgpack.pack(event_time) .. cmsgpack.pack(fresh)
  .. cmsgpack.pack(result_version) .. covers .. cmsgpack.pack(linked)
local function strings(list) return #list == 0 and '\144' or cmsgpack.pack(list) end
local function counters_and_cart(counters, cart)
  local items, values = {}, {}
  for i = 1, #counters, 2 do
    items[#items + 1], values[#values + 1] = counters[i], counters[i + 1]
  end
  local packed = table.concat(values)
  return strings(items) .. '\198' .. struct.pack('>I4', #packed) .. packed .. strings(cart)
end
local function flat(map)
  local list = {}
  for name, value in pairs(map) do list[#list + 1], list[#list + 2] = name, value end
  return list
end

if remembered then
  local lines = new_lines > 0 and redis.call('ZREVRANGE', KEYS[2], 0, new_lines - 1, 'WITHSCORES') or {}
  local counters, cart = flat(new_counters), flat(new_cart)
  local changed = #counters + #cart == 0 and '\192' or '\147' .. counters_and_cart(counters, cart)
  return '\152' .. head .. strings(lines) .. changed
end
return '\151' .. head .. '\148' .. strings(redis.call('ZREVRANGE', KEYS[2], 0, -1, 'WITHSCORES'))
  .. counters_and_cart(redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[4]))
