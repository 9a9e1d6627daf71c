-- Write one item; a change of its words or picture makes a new revision, to be described anew: I4.
-- KEYS  item, due, index, last revision before a deletion
-- ARGV  now, item id, document (JSON), picture hash or '', picture error or '', 1 to keep the
--       stored picture and its error
-- Returns {1 if created, fields and values of the item}.
local item, due, index, last = unpack(KEYS)
local now, id, doc, picture, refused = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local old = redis.call('HMGET', item, 'doc', 'pic', 'err', 'rev')
if ARGV[6] == '1' then picture, refused = old[2] or '', old[3] or '' end

if old[1] ~= doc or old[2] ~= picture then
  local revision = (old[4] or redis.call('GET', last) or 0) + 1
  redis.call('HSET', item, 'doc', doc, 'pic', picture, 'err', refused, 'rev', revision)
  redis.call('HDEL', item, 'f', 'l', 'a')
  if old[2] ~= picture then redis.call('HDEL', item, 'sum', 'by', 'srev', 'sf') end
  if picture ~= '' then
    redis.call('ZADD', due, now, id)
  else
    redis.call('ZREM', due, id)
  end
  redis.call('ZADD', index, 0, id)
  redis.call('DEL', last)
elseif old[3] ~= refused then
  redis.call('HSET', item, 'err', refused)
end
return { old[1] and 0 or 1, redis.call('HGETALL', item) }
