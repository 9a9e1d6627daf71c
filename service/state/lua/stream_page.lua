-- Read a page of a bucket's event log or dead letters, oldest first.
-- KEYS  stream
-- ARGV  the first id, the last id, how many entries
-- Returns {{stream id, {field, value, ...}}, ...}. Fields may repeat, which the client's XRANGE does not support.
return redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
