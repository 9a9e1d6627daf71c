-- Write what came of a picture that was to be fetched; another picture, also none, that was put meanwhile
-- has taken the lease away: I4, I7.
-- KEYS  item, pictures to fetch, due, dead
-- ARGV  now, item id, token, picture hash or '' to leave the one that is there, picture error or '',
--       reason of a dead letter or '' for none
-- Returns 1, or 0 when the lease is lost. Another picture makes a new revision and voids the description;
--         an item that has a picture and no description is due to be described.
local item, fetch, due, dead = unpack(KEYS)
local now, id, token, picture, refused, reason = clock(ARGV[1]), unpack(ARGV, 2)
if not holds(item, token, now) then return 0 end
local old = redis.call('HMGET', item, 'pic', 'url')
redis.call('HDEL', item, 'f', 'l', 'a', 'url')
redis.call('ZREM', fetch, id)
if picture == '' then picture = old[1] end
if picture ~= old[1] then
  redis.call('HDEL', item, 'sum', 'by', 'sf')
  redis.call('HINCRBY', item, 'rev', 1)
end
redis.call('HSET', item, 'pic', picture, 'err', refused)
if picture ~= '' and redis.call('HEXISTS', item, 'sf') == 0 then redis.call('ZADD', due, now, id) end
if reason ~= '' then
  -- What the letter is about: a picture that was put since is not to be replaced by it.
  redis.call('HSET', item, 'lost', old[2])
  redis.call('XADD', dead, 'MAXLEN', DEAD_LETTERS, '*', 'key', id, 'reason', reason, 'at', now, 'url', old[2])
end
return 1
