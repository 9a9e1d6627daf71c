-- Count the work of one bucket.
-- KEYS  due
-- ARGV  now
-- Returns {due now, due time of the one that waits longest or '', now}.
local now = clock(ARGV[1])
local oldest = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
return { redis.call('ZCOUNT', KEYS[1], '-inf', now), oldest[2] or '', now }
