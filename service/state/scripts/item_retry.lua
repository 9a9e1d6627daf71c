-- Describe an item again whose dead letter this is: I7.
-- KEYS  dead, due, stem of items (the letter names its item)
-- ARGV  now, the letter's stream id
-- Returns 1, or 0 when there is no such letter. The letter of a deleted item is only removed.
local letter = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if not letter then return 0 end
local item = letter[2][2]
redis.call('XDEL', KEYS[1], ARGV[2])
if redis.call('EXISTS', KEYS[3] .. item) == 1 then
  redis.call('ZADD', KEYS[2], 'LT', clock(ARGV[1]), item)
end
return 1
