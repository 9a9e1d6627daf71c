-- Lease items of some buckets whose pictures are to be fetched, longest due first: I4.
-- KEYS  a key of the buckets' slot (a single Redis has one slot for all), and one that never exists, so
--       that Redis refuses the script while that slot moves; the others are built from stems
-- ARGV  now, then for each bucket: stem, how many
-- Returns for each bucket {items still due, {{item id, token, attempts, URL}, ...}}.
local now, answers = clock(ARGV[1]), {}

local function claim(stem, most)
  local fetch, claims = stem .. 'fetch', {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', fetch, '-inf', now, 'LIMIT', 0, most)) do
    local item = stem .. 'm:' .. id
    redis.call('ZREM', fetch, id)
    local url = redis.call('HGET', item, 'url')
    if url then
      local token = next_token(stem .. 'fence')
      redis.call('HSET', item, 'f', token, 'l', now + LEASE)
      redis.call('ZADD', fetch, now + LEASE, id)
      claims[#claims + 1] = { id, token, tonumber(redis.call('HGET', item, 'a') or 0), url }
    end
  end
  return { redis.call('ZCOUNT', fetch, '-inf', now), claims }
end

for at = 2, #ARGV, 2 do answers[#answers + 1] = claim(ARGV[at], ARGV[at + 1]) end
return answers
