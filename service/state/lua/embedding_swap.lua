-- Set which index is in use, if nobody else did in the meantime.
-- KEYS  the pointer
-- ARGV  what it was, or ''; what it becomes
-- Returns 1, or 0 if it was something else.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
