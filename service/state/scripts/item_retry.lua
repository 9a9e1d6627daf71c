-- Describe an item again whose dead letter this is: I7.
-- KEYS  dead, due, stem of items (the letter names its item)
-- ARGV  now, the letter's stream id
-- Returns 1, or 0 when there is no such letter. The letter of an item that was deleted, that has no more
--         picture or that is being described is only removed.
local letter = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if not letter then return 0 end
local item = letter[2][2]
redis.call('XDEL', KEYS[1], ARGV[2])
local key, now = KEYS[3] .. item, clock(ARGV[1])
if (redis.call('HGET', key, 'pic') or '') ~= '' and not held(key, now) then
  redis.call('ZADD', KEYS[2], 'LT', now, item)
end
return 1
