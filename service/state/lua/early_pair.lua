-- Give the list of an item one that has come into the catalogue since they were liked together: I8.
-- KEYS  the list
-- ARGV  how many to keep, how often, the item
-- Returns the number of members kept, see keep_most.
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[3])
return keep_most(KEYS[1], tonumber(ARGV[1]))
