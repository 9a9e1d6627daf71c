-- Forget a user, and refuse what was received before: I5.
-- KEYS  tombstone, due, dead, letters, then every other key of the user
-- ARGV  now by the caller's clock, user, now ('0': Redis)
-- Returns {1 if there was anything, the tombstone's time}.
local tombstone, due, dead, letters = unpack(KEYS)
local user = ARGV[2]

local gone = redis.call('ZREM', due, user)
for _, id in ipairs(redis.call('LRANGE', letters, 0, -1)) do redis.call('XDEL', dead, id) end
for key = 4, #KEYS do gone = gone + redis.call('DEL', KEYS[key]) end

local till = math.max(tonumber(ARGV[1]), clock(ARGV[3])) + SKEW
redis.call('SET', tombstone, till, 'PX', TOMBSTONE)
return { gone > 0 and 1 or 0, till }
