-- Read all that a request needs of a user, at one instant: I6.
-- KEYS  summary, pending, recents, seen
-- ARGV  now
-- Returns {summary or '', recents and some before them, number of pending events, seen items, now}.
local pending, waiting, recents = KEYS[2], redis.call('LLEN', KEYS[2]), redis.call('LRANGE', KEYS[3], 0, -1)
if waiting > 0 then
  for _, entry in ipairs(redis.call('LRANGE', pending, -math.max(SEEN, RECENTS), -1)) do recents[#recents + 1] = shown(entry) end
end
return {
  redis.call('GET', KEYS[1]) or '',
  recents,
  waiting,
  redis.call('LRANGE', KEYS[4], 0, -1),
  clock(ARGV[1]),
}
