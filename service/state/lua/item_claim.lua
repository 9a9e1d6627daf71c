-- Lease items of some buckets that wait to be described, longest due first: I4.
-- KEYS  a key of the buckets' slot (a single Redis has one slot for all), and one that never exists, so
--       that Redis refuses the script while that slot moves; the others are built from stems
-- ARGV  now, then for each bucket: stem, how many
-- Returns for each bucket {items still due, {{item id, token, attempts, fields and values}, ...}}.
local now, answers = clock(ARGV[1]), {}

local function claim(stem, most)
  local due, claims = stem .. 'due', {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)) do
    local item = stem .. 'm:' .. id
    redis.call('ZREM', due, id)
    if redis.call('EXISTS', item) == 1 then
      local token = next_token(stem .. 'fence')
      redis.call('HSET', item, 'f', token, 'l', now + LEASE)
      redis.call('ZADD', due, now + LEASE, id)
      claims[#claims + 1] = { id, token, tonumber(redis.call('HGET', item, 'a') or 0), redis.call('HGETALL', item) }
    end
  end
  return { redis.call('ZCOUNT', due, '-inf', now), claims }
end

for at = 2, #ARGV, 2 do answers[#answers + 1] = claim(ARGV[at], ARGV[at + 1]) end
return answers
