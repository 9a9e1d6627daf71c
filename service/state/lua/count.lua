-- Add to the counts of a ranking's members, and keep the members with the highest counts: I8.
-- KEYS  the ranking
-- ARGV  how many to keep, then for each member: the number to add, its id
-- Returns the number of members, see keep_most.
for at = 2, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]) end
return keep_most(KEYS[1], tonumber(ARGV[1]))
