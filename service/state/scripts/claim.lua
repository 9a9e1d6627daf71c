-- Lease due users of one bucket to one worker, longest due first: I3, I4.
-- KEYS  due, fence, and the stems of pending, work, summary and recents (a user id is put behind
--       them: which users are due is known only here; the tag keeps them on this slot)
-- ARGV  now, how many
-- Returns {users still due, {{user, token, summary or '', attempts, events pending in all,
--          the first CLAIM_EVENTS of them, recents}, ...}}.
local due, fence, pending_stem, work_stem, summary_stem, recents_stem = unpack(KEYS)
local now, claims = clock(ARGV[1]), {}

for _, user in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local pending, work = pending_stem .. user, work_stem .. user
  redis.call('ZREM', due, user)
  local waiting = redis.call('LLEN', pending)
  if waiting > 0 then
    local token = next_token(fence)
    redis.call('HSET', work, 'f', token, 'l', now + LEASE)
    redis.call('ZADD', due, now + LEASE, user)
    claims[#claims + 1] = {
      user,
      token,
      redis.call('GET', summary_stem .. user) or '',
      tonumber(redis.call('HGET', work, 'a') or 0),
      waiting,
      redis.call('LRANGE', pending, 0, CLAIM_EVENTS - 1),
      redis.call('LRANGE', recents_stem .. user, -RECENTS, -1),
    }
  end
end
return { redis.call('ZCOUNT', due, '-inf', now), claims }
