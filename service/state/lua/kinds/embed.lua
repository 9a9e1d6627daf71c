-- Vectors of an item, one for each index that is kept filled. It follows derive.lua, and stands for its read and commit.
-- The result names the indexes that have a vector of the item's current words and picture; after a change the old
-- vector stays until there is another. Vectors never change a score, so they make no new revision.
-- Of a bucket, `ei` (hash) has the bytes of a vector by index, `es` the last change number, and for each index
-- `e:INDEX` (hash) the vectors by item, `ec:INDEX` (zset) the number of each item's last change, which may be a removal,
-- and `et:INDEX` (zset) those of removals only. Change numbers only grow, even if Redis has lost its last writes.
-- claim         the fields of the item, the indexes that have a vector of it, and those whose model has failed.
-- commit, keep  ARGV from 4: for each new vector: its index, the vector. Both return -1 if a vector has not the width of
--               its index, -2 if there are too many indexes; nothing is written then.
-- dead letter   ARGV from 5: the indexes whose model has failed. The item's model field names them, and forgets them when
--               a dead letter is retried.
local MAX_INDEXES = 8

local function words_of(text)
  local words = {}
  for word in string.gmatch(text or '', '%S+') do words[#words + 1] = word end
  return words
end

function kind.read(stem, item)
  local fields, held_by = redis.call('HGETALL', stem .. 'm:' .. item), {}
  if not fields[1] then return nil end
  for index in string.gmatch(field_of(fields, derived.result) or '', '%S+') do
    if redis.call('HEXISTS', stem .. 'e:' .. index, item) == 1 then held_by[#held_by + 1] = index end
  end
  return { fields, held_by, words_of(field_of(fields, derived.model)) }
end

function kind.commits(stem)
  local known = redis.call('HLEN', stem .. 'ei')
  for at = 4, #ARGV, 2 do
    local width = redis.call('HGET', stem .. 'ei', ARGV[at])
    if width and tonumber(width) ~= #ARGV[at + 1] then return -1 end
    known = known + (width and 0 or 1)
  end
  return known <= MAX_INDEXES or -2
end

-- Write the vectors, and which indexes have one, or have none since the model failed.
function kind.keep(stem, item)
  local key, named, failed, seen = stem .. 'm:' .. item, {}, {}, {}
  for at = 4, #ARGV, 2 do
    local index = ARGV[at]
    redis.call('HSET', stem .. 'ei', index, #ARGV[at + 1])
    redis.call('HSET', stem .. 'e:' .. index, item, ARGV[at + 1])
    redis.call('ZADD', stem .. 'ec:' .. index, next_token(stem .. 'es'), item)
    redis.call('ZREM', stem .. 'et:' .. index, item)
    named[#named + 1], seen[index] = index, true
  end
  for index in string.gmatch(redis.call('HGET', key, derived.result) or '', '%S+') do
    if not seen[index] and redis.call('HEXISTS', stem .. 'ei', index) == 1 then named[#named + 1] = index end
  end
  for index in string.gmatch(redis.call('HGET', key, derived.model) or '', '%S+') do
    if not seen[index] then failed[#failed + 1] = index end
  end
  redis.call('HSET', key, derived.result, table.concat(named, ' '), derived.model, table.concat(failed, ' '))
end

function kind.commit(stem, item, token)
  kind.keep(stem, item)
  redis.call('HSET', stem .. 'm:' .. item, derived.token, token)
end

local retry = kind.retry
function kind.retry(stem, item, now)
  redis.call('HDEL', stem .. 'm:' .. item, derived.model)
  return retry(stem, item, now)
end
