-- Count members of a ranking, keeping the most frequent: I8.
-- KEYS  the ranking
-- ARGV  how many to keep, then for each member: how often, its id
-- Returns the number of members kept. A quarter more may stand at a time, so that a new one is not the
-- first to go.
local ranking, most = KEYS[1], tonumber(ARGV[1])
for at = 2, #ARGV, 2 do redis.call('ZINCRBY', ranking, ARGV[at], ARGV[at + 1]) end
local kept = redis.call('ZCARD', ranking)
if kept <= most * 1.25 then return kept end
redis.call('ZREMRANGEBYRANK', ranking, 0, kept - most - 1)
return most
