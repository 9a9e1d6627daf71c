-- A picture that an item gives by URL. A `put` that changes or removes the picture ends the lease.
-- commit       ARGV from 4: picture hash or '' to keep the current one, picture error or ''. Another picture
--              makes a new revision and voids everything derived from the item, which is then derived again.
-- dead letter  ARGV from 5: picture error. It names the URL, so that a retry replaces no picture that was put since.

function kind.read(stem, item)
  local url = redis.call('HGET', stem .. 'm:' .. item, 'url')
  return url and { url }
end

local function settle(stem, item, now, picture, refused)
  local key = stem .. 'm:' .. item
  local old = redis.call('HGET', key, 'pic')
  redis.call('HDEL', key, 'url')
  if picture ~= '' and picture ~= old then
    void_derived(key)
    redis.call('HINCRBY', key, 'rev', 1)
    redis.call('HSET', key, 'pic', picture)
  end
  redis.call('HSET', key, 'err', refused)
  derive(stem, item, now)
end

function kind.commit(stem, item, _, now) settle(stem, item, now, ARGV[4], ARGV[5]) end

function kind.give_up(stem, item, now, add)
  local key = stem .. 'm:' .. item
  local url = redis.call('HGET', key, 'url')
  settle(stem, item, now, '', ARGV[5])
  redis.call('HSET', key, 'lost', url)
  add({ 'url', url })
end

function kind.retry(stem, item, now, fields)
  local key, url = stem .. 'm:' .. item, field_of(fields, 'url')
  if redis.call('HGET', key, 'lost') ~= url or redis.call('HEXISTS', key, 'url') == 1 then return nil end
  redis.call('HDEL', key, 'lost')
  redis.call('HSET', key, 'url', url, 'err', '')
  end_derivations(stem, item)
  return now
end
