-- Lease items that wait to be described, longest due first: I4.
-- KEYS  due, fence, stem of items (an item id is put behind it; the tag keeps them on this slot)
-- ARGV  now, how many
-- Returns {items still due, {{item id, token, attempts, fields and values of the item}, ...}}.
local due, fence, stem = unpack(KEYS)
local now, claims = clock(ARGV[1]), {}

for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local item = stem .. id
  redis.call('ZREM', due, id)
  if redis.call('EXISTS', item) == 1 then
    local token = next_token(fence)
    redis.call('HSET', item, 'f', token, 'l', now + LEASE)
    redis.call('ZADD', due, now + LEASE, id)
    claims[#claims + 1] = { id, token, tonumber(redis.call('HGET', item, 'a') or 0), redis.call('HGETALL', item) }
  end
end
return { redis.call('ZCOUNT', due, '-inf', now), claims }
