-- Count items seen together with one item, keeping the most frequent: I8.
-- KEYS  the item's neighbours
-- ARGV  for each neighbour: how often, its id
-- Returns the number of neighbours kept. A quarter more than NEIGHBOURS may stand at a time, so
-- that a new neighbour is not the first to go.
for at = 1, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]) end
local kept = redis.call('ZCARD', KEYS[1])
if kept <= NEIGHBOURS * 1.25 then return kept end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, kept - NEIGHBOURS - 1)
return NEIGHBOURS
