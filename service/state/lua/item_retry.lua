-- Work an item again whose dead letter this is: fetch its picture, or describe it: I7.
-- KEYS  dead, due, stem of items (the letter names its item), pictures to fetch
-- ARGV  now, the letter's stream id
-- Returns 1, or 0 when there is no such letter. The letter of an item that was deleted, that has no more
--         picture, or another one than the letter's, or that is being worked is only removed.
local letter = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if not letter then return 0 end
local item, url = letter[2][2], letter[2][8]
redis.call('XDEL', KEYS[1], ARGV[2])
local key, now = KEYS[3] .. item, clock(ARGV[1])
local lost, pending, picture = unpack(redis.call('HMGET', key, 'lost', 'url', 'pic'))
if url then
  if lost == url and not pending then
    redis.call('HDEL', key, 'f', 'l', 'a', 'lost')
    redis.call('HSET', key, 'url', url, 'err', '')
    redis.call('ZREM', KEYS[2], item)
    redis.call('ZADD', KEYS[4], now, item)
  end
elseif (picture or '') ~= '' and not pending and not held(key, now) then
  redis.call('ZADD', KEYS[2], 'LT', now, item)
end
return 1
