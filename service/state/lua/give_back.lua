-- Give claimed work back, to be claimed again after `delay`: I7. For users and items alike.
-- KEYS  due, work, and for users pending
-- ARGV  now, user or item, token, delay, 1 if this was a failed attempt, else 0
-- Returns 1, or 0 when the lease is lost.
local due, work, pending = unpack(KEYS)
local now, id, token, delay, failed = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
if not holds(work, token, now) then return 0 end

redis.call('HDEL', work, 'f', 'l')
if failed then redis.call('HINCRBY', work, 'a', 1) end
if delay > 0 then
  redis.call('HSET', work, 'l', now + delay)
  redis.call('ZADD', due, now + delay, id)
elseif pending then
  rearm(due, pending, id, now)
else
  redis.call('ZADD', due, now, id)
end
return 1
