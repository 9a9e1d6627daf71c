-- Renew a lease that has not expired: I4.
-- KEYS  due set, stem (never a key)
-- ARGV  now, id, token
-- Returns 1, or 0 if the lease is lost.
local due, lease, now = KEYS[1], lease_of(KIND, KEYS[2], ARGV[2]), clock(ARGV[1])
if not holds(lease, ARGV[3], now) then return 0 end
redis.call('ZREM', due, ARGV[2])
redis.call('HSET', lease, 'l', now + LEASE)
redis.call('ZADD', due, now + LEASE, ARGV[2])
return 1
