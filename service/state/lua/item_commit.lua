-- Write the description of an item. Whoever holds the lease described what the item still is: a
-- change of its words or picture takes the lease away: I4.
-- KEYS  item, due
-- ARGV  now, item id, token, text, model
-- Returns 1 committed, also when this very commit was already made, 0 lost. A second description
-- of the same (a dead letter was retried) makes a new revision: scores were made with the first.
local item, due = KEYS[1], KEYS[2]
local before = redis.call('HGET', item, 'sf')
if before == ARGV[3] then return 1 end
if not holds(item, ARGV[3], clock(ARGV[1])) then return 0 end
redis.call('ZREM', due, ARGV[2])
redis.call('HDEL', item, 'f', 'l', 'a')
if before then redis.call('HINCRBY', item, 'rev', 1) end
redis.call('HSET', item, 'sum', ARGV[4], 'by', ARGV[5], 'sf', ARGV[3])
return 1
