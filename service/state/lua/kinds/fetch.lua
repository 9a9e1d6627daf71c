-- The picture that an item names by URL. Another picture, also none, that was put meanwhile has ended the lease.
-- commit       ARGV from 4: picture hash or '' to leave the one that is there, picture error or ''. Another picture
--              makes a new revision and voids what was derived from the item, which is then derived again.
-- dead letter  ARGV from 5: picture error. It names the URL: a retry replaces no picture that was put since.
local kind = {}

function kind.read(stem, item)
  local url = redis.call('HGET', stem .. 'm:' .. item, 'url')
  return url and { url }
end

function kind.next_due() return nil end

function kind.committed() return false end

function kind.commits() return true end

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

function kind.gives_up() return true end

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
