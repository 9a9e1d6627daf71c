-- Remove an index from one bucket.
-- KEYS  the bucket's widths by index, stem (never a key)
-- ARGV  index
-- Returns 1, or 0 if there was none.
local stem, index = KEYS[2], ARGV[1]
redis.call('UNLINK', stem .. 'e:' .. index, stem .. 'ec:' .. index, stem .. 'et:' .. index)
return redis.call('HDEL', KEYS[1], index)
