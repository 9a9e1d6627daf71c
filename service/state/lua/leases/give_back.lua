-- Give claimed work back; it may be claimed again after `delay`: I7.
-- KEYS  due set, stem (never a key)
-- ARGV  now, id, token, delay, 1 if this was a failed attempt, else 0
-- Returns 1, or 0 if the lease is lost.
local due, stem = KEYS[1], KEYS[2]
local now, id, token, delay, failed = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local lease = lease_of(KIND, stem, id)
if not holds(lease, token, now) then return 0 end

redis.call('HDEL', lease, 'f', 'l')
if failed then redis.call('HINCRBY', lease, 'a', 1) end
if delay > 0 then
  redis.call('HSET', lease, 'l', now + delay)
  redis.call('ZADD', due, now + delay, id)
else
  schedule(due, id, kind.next_due(stem, id, now) or now)
end
return 1
