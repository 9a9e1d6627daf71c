-- Read a page of a bucket's event log or dead letters, oldest first.
-- KEYS  stream
-- ARGV  the first id, the last id, how many entries
-- Returns {{stream id, {field, value, ...}}, ...}; fields may repeat, which the clients' own reading of XRANGE loses.
return redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
