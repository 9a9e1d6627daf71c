-- Read a page of one bucket's dead letters, oldest first.
-- KEYS  dead letters
-- ARGV  the id to begin with, the last id, how many
-- Returns {{stream id, {field, value, ...}}, ...}; fields may repeat, which Redis clients' own
--         reading of XRANGE would lose.
return redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
