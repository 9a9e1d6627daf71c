-- Read a page of one bucket's log.
-- KEYS  log
-- ARGV  the id to begin with, how many entries
-- Returns {{stream id, {'u', user, 'e', entry}}, ...}.
return redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
