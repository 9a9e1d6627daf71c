-- Remember that items were liked that are not in the catalogue: I8.
-- KEYS  the items, by when they were last liked
-- ARGV  now, how many to keep, items
-- Returns {how many are kept, those that fell out, the longest ago first}.
local early, now, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
for at = 3, #ARGV do redis.call('ZADD', early, now, ARGV[at]) end
local over, dropped = redis.call('ZCARD', early) - most, {}
if over > 0 then
  local popped = redis.call('ZPOPMIN', early, over)
  for at = 1, #popped, 2 do dropped[#dropped + 1] = popped[at] end
end
return { redis.call('ZCARD', early), dropped }
