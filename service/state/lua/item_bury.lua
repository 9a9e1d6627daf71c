-- Give up describing an item: a dead letter names it and why: I7.
-- KEYS  item, due, dead
-- ARGV  now, item id, token, reason
-- Returns 1, or 0 when the lease is lost.
local item, due, dead = unpack(KEYS)
local now = clock(ARGV[1])
if not holds(item, ARGV[3], now) then return 0 end
redis.call('HDEL', item, 'f', 'l', 'a')
redis.call('ZREM', due, ARGV[2])
redis.call('XADD', dead, 'MAXLEN', DEAD_LETTERS, '*', 'key', ARGV[2], 'reason', ARGV[4], 'at', now)
return 1
