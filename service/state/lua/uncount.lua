-- Subtract a user's counts from a ranking, without adding members that it no longer has.
-- KEYS  the ranking
-- ARGV  for each member: the number to subtract, its id
-- Returns the number of these members that it had.
local ranking, found = KEYS[1], 0
for at = 1, #ARGV, 2 do
  local count = redis.call('ZSCORE', ranking, ARGV[at + 1])
  if count then
    found = found + 1
    if tonumber(count) > tonumber(ARGV[at]) then
      redis.call('ZINCRBY', ranking, -ARGV[at], ARGV[at + 1])
    else
      redis.call('ZREM', ranking, ARGV[at + 1])
    end
  end
end
return found
