-- Give the list of an item one that has come into the catalogue since they were liked together: I8.
-- KEYS  the list
-- ARGV  how many to keep, how often, the item
-- Returns the number of members kept; see count.lua.
local ranking, most = KEYS[1], tonumber(ARGV[1])
redis.call('ZADD', ranking, 'GT', ARGV[2], ARGV[3])
local kept = redis.call('ZCARD', ranking)
if kept <= most * 1.25 then return kept end
redis.call('ZREMRANGEBYRANK', ranking, 0, kept - most - 1)
return most
