-- Forget old removals from an index, of which all readers know: I8.
-- KEYS  the index's removals and its changes, of one bucket
-- ARGV  the last change number to forget, how many
-- Returns how many were forgotten.
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, item in ipairs(old) do
  redis.call('ZREM', KEYS[1], item)
  redis.call('ZREM', KEYS[2], item)
end
return #old
