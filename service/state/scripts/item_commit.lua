-- Write the summary of an item's picture, if the item is still at the revision described (a new
-- one takes the lease away): I4.
-- KEYS  item, due
-- ARGV  now, item id, token, revision, text, model
-- Returns 1 committed, also when this very commit was already made, 0 lost.
local item, due = KEYS[1], KEYS[2]
local described, writer = unpack(redis.call('HMGET', item, 'srev', 'sf'))
if described == ARGV[4] and writer == ARGV[3] then return 1 end
if not holds(item, ARGV[3], clock(ARGV[1])) then return 0 end
redis.call('ZREM', due, ARGV[2])
redis.call('HDEL', item, 'f', 'l', 'a')
redis.call('HSET', item, 'sum', ARGV[5], 'by', ARGV[6], 'srev', ARGV[4], 'sf', ARGV[3])
return 1
