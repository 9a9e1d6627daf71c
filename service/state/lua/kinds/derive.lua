-- What a model makes of an item's words and picture. DERIVED declares for each such kind which field of the item it
-- needs and in which fields its result, the model and the token are. A change of words or picture voids the
-- result and ends the lease, see item_put.lua: the holder of a lease has worked on the item's current content.
-- commit       ARGV from 4: result, model. A second result from the same item (a dead letter was retried)
--              makes a new revision: scores were made with the first.
-- dead letter  only names the item; the oldest letter goes when there is no room for another.
local kind, derived = {}, DERIVED[KIND]

function kind.read(stem, item)
  local fields = redis.call('HGETALL', stem .. 'm:' .. item)
  return fields[1] and { fields }
end

function kind.next_due() return nil end

function kind.committed(stem, item, token) return redis.call('HGET', stem .. 'm:' .. item, derived.token) == token end

function kind.commits() return true end

function kind.commit(stem, item, token)
  local key = stem .. 'm:' .. item
  if redis.call('HEXISTS', key, derived.token) == 1 then redis.call('HINCRBY', key, 'rev', 1) end
  redis.call('HSET', key, derived.result, ARGV[4], derived.model, ARGV[5], derived.token, token)
end

function kind.gives_up() return true end

function kind.give_up(_, _, _, add) add({}) end

function kind.retry(stem, item, now)
  local key = stem .. 'm:' .. item
  return redis.call('HEXISTS', key, 'url') == 0 and has_needed(key, derived) and now
end
