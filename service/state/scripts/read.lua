-- Read all that a request needs of a user, at one instant: I6.
-- KEYS  summary, pending, recents, seen
-- ARGV  now
-- Returns {summary or '', recents and some before them, number of pending events, seen items, now}.
return {
  redis.call('GET', KEYS[1]) or '',
  redis.call('LRANGE', KEYS[3], 0, -1),
  redis.call('LLEN', KEYS[2]),
  redis.call('LRANGE', KEYS[4], 0, -1),
  clock(ARGV[1]),
}
