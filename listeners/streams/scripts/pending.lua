-- Returns the consumer that holds a pending entry, the entry's idle time in ms and its delivery count; nil if it is not
-- pending. KEYS[1] is the stream.
local function pending(group, id)
  local row = redis.call('XPENDING', KEYS[1], group, id, id, 1)[1]
  if row then return row[2], row[3], row[4] end
end

-- Moves a pending entry to a consumer. Returns false if it is no longer in the stream: from Redis 7.0 it is no longer
-- pending then, and before, it is moved nevertheless.
local function assign(group, id, consumer, idle, deliveries)
  local claimed = redis.call('XCLAIM', KEYS[1], group, consumer, 0, id, 'IDLE', idle, 'RETRYCOUNT', deliveries, 'JUSTID')
  return #claimed > 0
end
