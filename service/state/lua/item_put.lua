-- Write one item; a change makes a new revision: I4.
-- KEYS  item, stem (never a key), index, last revision before a deletion
-- ARGV  now, item id, words (JSON), attributes (JSON) or '', picture hash or '', picture error or '',
--       URL of a picture to fetch or '', what to keep: 'nothing', 'picture' the stored picture, 'both' also its error
--       and a URL that is to be fetched; 1 to return the item; the names of the item's terms
-- Returns {1 if created, fields and values of the item if requested}.
-- A change of words or picture voids everything derived from the item and ends the leases of workers that derive it.
-- Attributes are never shown to a model, so a change of them does not void a description.
-- While a picture is to be fetched, the item has its URL and nothing is derived from it. The fetcher keeps its lease
-- as long as the URL stays the same.
local item, stem, index, last = unpack(KEYS)
local now, id, doc, attributes, picture, refused, url, keep, show, terms = clock(ARGV[1]), unpack(ARGV, 2)
local old = redis.call('HMGET', item, 'doc', 'attr', 'pic', 'err', 'rev', 'url', 'lost', 'tm')
local pending = old[6] or ''
if keep ~= 'nothing' then picture = old[3] or '' end
if keep == 'both' then refused, url = old[4] or '', pending end

local shown = old[1] ~= doc or old[3] ~= picture
if shown or (old[2] or '') ~= attributes then
  local revision = (old[5] or redis.call('GET', last) or 0) + 1
  redis.call('HSET', item, 'doc', doc, 'pic', picture, 'err', refused, 'rev', revision)
  if attributes == '' then redis.call('HDEL', item, 'attr') else redis.call('HSET', item, 'attr', attributes) end
  if shown and old[1] then void_derived(item) end
  redis.call('ZADD', index, 0, id)
  redis.call('DEL', last)
elseif old[4] ~= refused then
  redis.call('HSET', item, 'err', refused)
end

list_terms(stem, item, id, old[8] or '', terms)

if url ~= pending then
  redis.call('DEL', lease_of('fetch', stem, id))
  if url == '' then redis.call('HDEL', item, 'url') else redis.call('HSET', item, 'url', url) end
  schedule(due_of('fetch', stem), id, url ~= '' and now)
end
if shown or url ~= pending then
  if old[1] then end_derivations(stem, id) end
  if url == '' then derive(stem, id, now) end
end
if old[7] and keep ~= 'both' then redis.call('HDEL', item, 'lost') end
return { old[1] and 0 or 1, show == '1' and redis.call('HGETALL', item) or {} }
