-- Note an event of a conversation, once, and tell how far the conversation is. Events are counted: the n-th distinct one
-- has the sequence n, whoever reads it and however often.
-- KEYS  1 conversation (hash)  2 its latest reply (string)
-- ARGV  1 the event's id, 8 bytes   2 "message" | "resolved"   3 time to live, s
-- Returns the event's sequence, the sequence that was answered, replies since it was resolved, what the last reply was
-- about (intent, order), why it was handed over, and the latest reply (false: there is none).
local SEEN = 256 * 8

local fields = redis.call('HMGET', KEYS[1], 'seen', 'sequence', 'answered', 'turns', 'intent', 'order_id', 'handed_over')
local seen, sequence = fields[1] or '', tonumber(fields[2] or 0)

local function place()
  local from = 1
  while true do
    local at = string.find(seen, ARGV[1], from, true)
    if not at or at % 8 == 1 then return at end
    from = at + 1
  end
end

local at = place()
local own
if at then
  own = sequence - (#seen - at - 7) / 8
else
  sequence = sequence + 1
  own = sequence
  redis.call('HSET', KEYS[1], 'seen', string.sub(seen .. ARGV[1], -SEEN), 'sequence', sequence)
  if ARGV[2] == 'resolved' then
    redis.call('HDEL', KEYS[1], 'turns', 'intent', 'order_id', 'handed_over')
    fields[4], fields[5], fields[6], fields[7] = false, false, false, false
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {
  own, tonumber(fields[3] or 0), tonumber(fields[4] or 0), fields[5] or '', fields[6] or '', fields[7] or '',
  redis.call('GET', KEYS[2])
}
