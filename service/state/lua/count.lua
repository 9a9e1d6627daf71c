-- Count members of a ranking, keeping the most frequent: I8.
-- KEYS  the ranking
-- ARGV  how many to keep, then for each member: how often, its id
-- Returns the number of members kept, see keep_most.
for at = 2, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]) end
return keep_most(KEYS[1], tonumber(ARGV[1]))
