-- Note liked items that are not in the catalogue: I8.
-- KEYS  the items, by the time of the last like
-- ARGV  now, how many to keep, items
-- Returns {the number of items, those removed, oldest first}.
local early, now, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
for at = 3, #ARGV do redis.call('ZADD', early, now, ARGV[at]) end
local over, dropped = redis.call('ZCARD', early) - most, {}
if over > 0 then
  local popped = redis.call('ZPOPMIN', early, over)
  for at = 1, #popped, 2 do dropped[#dropped + 1] = popped[at] end
end
return { redis.call('ZCARD', early), dropped }
