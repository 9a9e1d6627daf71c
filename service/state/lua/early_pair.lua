-- Add an item to the list of another: they were liked together before it was in the catalogue. I8.
-- KEYS  the list
-- ARGV  how many to keep, the count, the item
-- Returns the number of members, see keep_most.
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[3])
return keep_most(KEYS[1], tonumber(ARGV[1]))
