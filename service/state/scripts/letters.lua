-- Read the oldest dead letters of one bucket.
-- KEYS  dead
-- ARGV  how many
-- Returns {{stream id, {field, value, ...}}, ...}; fields may repeat, which Redis clients' own
--         reading of XRANGE would lose.
return redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])
