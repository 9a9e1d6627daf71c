-- Remove one item; whoever describes it or fetches its picture can't commit: I4.
-- KEYS  item, due, index, last revision before a deletion, pictures to fetch
-- ARGV  item id
-- Returns 1, or 0 when there was none. The revision is remembered for longer than scores are cached
--         by it, so that an item put again is not taken for the old one.
local item, due, index, last, fetch = unpack(KEYS)
local revision = redis.call('HGET', item, 'rev')
if not revision then return 0 end
redis.call('DEL', item)
redis.call('ZREM', due, ARGV[1])
redis.call('ZREM', fetch, ARGV[1])
redis.call('ZREM', index, ARGV[1])
redis.call('SET', last, revision, 'PX', SCORES_TTL + TOMBSTONE)
return 1
