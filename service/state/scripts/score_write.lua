-- Keep scores of one user for a while, unless the user was deleted since it was read: I5, I8.
-- KEYS  scores, tombstone
-- ARGV  when the user was read, stamp, then for each item: its id, 'revision score'
-- Returns 1, or 0 when the user was deleted. The time runs from the first score: one that is kept
-- alive by later ones could outlive what is remembered of a deleted item.
local scores, stamp = KEYS[1], ARGV[2]
local deleted = redis.call('GET', KEYS[2])
if deleted and tonumber(ARGV[1]) <= tonumber(deleted) then return 0 end

if redis.call('HGET', scores, '') ~= stamp or redis.call('HLEN', scores) + (#ARGV - 2) / 2 > SCORES then
  redis.call('DEL', scores)
  redis.call('HSET', scores, '', stamp)
  redis.call('PEXPIRE', scores, SCORES_TTL)
end
for from = 3, #ARGV, AT_ONCE do
  redis.call('HSET', scores, unpack(ARGV, from, math.min(from + AT_ONCE - 1, #ARGV)))
end
return 1
