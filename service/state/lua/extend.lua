-- Renew a lease that has not run out: I4. For users and items alike.
-- KEYS  due, work
-- ARGV  now, user or item, token
-- Returns 1, or 0 when the lease is lost.
local now = clock(ARGV[1])
if not holds(KEYS[2], ARGV[3], now) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[2], 'l', now + LEASE)
redis.call('ZADD', KEYS[1], now + LEASE, ARGV[2])
return 1
