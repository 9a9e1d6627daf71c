-- Lease due users of some buckets to one worker, longest due first: I3, I4.
-- KEYS  a key of the buckets' slot (a single Redis has one slot for all), and one that never exists, so
--       that Redis refuses the script while that slot moves; the others are built from stems
-- ARGV  now, then for each bucket: stem, how many
-- Returns for each bucket {users still due, {{user, token, summary or '', attempts, the first CLAIM_EVENTS
--         pending events, recents without the pending ones}, ...}}.
local now, answers = clock(ARGV[1]), {}

local function claim(stem, most)
  local due, claims = stem .. 'due', {}
  for _, user in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)) do
    local pending, work = stem .. 'p:' .. user, stem .. 'w:' .. user
    redis.call('ZREM', due, user)
    if redis.call('EXISTS', pending) == 1 then
      local token = next_token(stem .. 'fence')
      redis.call('HSET', work, 'f', token, 'l', now + LEASE)
      redis.call('ZADD', due, now + LEASE, user)
      claims[#claims + 1] = {
        user,
        token,
        redis.call('GET', stem .. 'u:' .. user) or '',
        tonumber(redis.call('HGET', work, 'a') or 0),
        redis.call('LRANGE', pending, 0, CLAIM_EVENTS - 1),
        redis.call('LRANGE', stem .. 'r:' .. user, -RECENTS, -1),
      }
    end
  end
  return { redis.call('ZCOUNT', due, '-inf', now), claims }
end

for at = 2, #ARGV, 2 do answers[#answers + 1] = claim(ARGV[at], ARGV[at + 1]) end
return answers
