-- A result that a model derives from an item's words and picture. DERIVED declares for each such kind which field of
-- the item it needs, and the fields of the result, the model and the token. A change of words or picture voids the
-- result and ends the lease, see item_put.lua, so the holder of a lease has worked on the item's current content.
-- commit       ARGV from 4: result, model. A second, different result for the same content (after a retried dead
--              letter, or of another model) makes a new revision, because scores were computed with the first.
-- dead letter  ARGV from 5, optional: the model, to be noted as tried. The letter only names the item; the oldest one
--              is dropped if there is no room for another.
local derived = DERIVED[KIND]

function kind.read(stem, item)
  local fields = redis.call('HGETALL', stem .. 'm:' .. item)
  return fields[1] and { fields }
end

function kind.committed(stem, item, token) return redis.call('HGET', stem .. 'm:' .. item, derived.token) == token end

function kind.commit(stem, item, token)
  local key = stem .. 'm:' .. item
  local first = redis.call('HGET', key, derived.result)
  if first and first ~= ARGV[4] then redis.call('HINCRBY', key, 'rev', 1) end
  redis.call('HSET', key, derived.result, ARGV[4], derived.model, ARGV[5], derived.token, token)
end

function kind.give_up(stem, item, _, add)
  if ARGV[5] then redis.call('HSET', stem .. 'm:' .. item, derived.model, ARGV[5]) end
  add({})
end

function kind.retry(stem, item, now)
  local key = stem .. 'm:' .. item
  return redis.call('HEXISTS', key, 'url') == 0 and has_needed(key, derived) and now
end
