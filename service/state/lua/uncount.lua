-- Take back what a user added to a ranking; what is no more in it stays out.
-- KEYS  the ranking
-- ARGV  for each member: how often, its id
-- Returns the number of members that were there.
local ranking, there = KEYS[1], 0
for at = 1, #ARGV, 2 do
  local count = redis.call('ZSCORE', ranking, ARGV[at + 1])
  if count then
    there = there + 1
    if tonumber(count) > tonumber(ARGV[at]) then
      redis.call('ZINCRBY', ranking, -ARGV[at], ARGV[at + 1])
    else
      redis.call('ZREM', ranking, ARGV[at + 1])
    end
  end
end
return there
