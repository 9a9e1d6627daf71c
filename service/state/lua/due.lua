-- Count the due work of one bucket.
-- KEYS  due
-- ARGV  now
-- Returns {number that is due, the earliest due time or '', now}.
local now = clock(ARGV[1])
local oldest = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
return { redis.call('ZCOUNT', KEYS[1], '-inf', now), oldest[2] or '', now }
