-- Remove one item; a worker that holds it can no longer commit: I4.
-- KEYS  item, stem (never a key), index, last revision before a deletion
-- ARGV  item id
-- Returns 1, or 0 if there was none. The revision is kept for longer than scores are cached under it, so that an item
--         put again gets another one.
local item, stem, index, last = unpack(KEYS)
local revision = redis.call('HGET', item, 'rev')
if not revision then return 0 end
list_terms(stem, item, ARGV[1], redis.call('HGET', item, 'tm') or '', '')
redis.call('DEL', item, lease_of('fetch', stem, ARGV[1]))
redis.call('ZREM', due_of('fetch', stem), ARGV[1])
end_derivations(stem, ARGV[1])
remove_vectors(stem, ARGV[1])
redis.call('ZREM', index, ARGV[1])
redis.call('SET', last, revision, 'PX', SCORES_TTL + TOMBSTONE)
return 1
