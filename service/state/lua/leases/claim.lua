-- Lease due work of some buckets to one worker, longest due first: I3, I4.
-- KEYS  the due set of one of the buckets (a single Redis has one slot for all), and a key that never exists, so
--       that Redis refuses the script while their slot moves; the other keys are built from stems
-- ARGV  now, then for each bucket: stem, how many
-- Returns for each bucket {how many are still due, {{id, token, attempts, what the kind reads...}, ...}}.
local now, answers = clock(ARGV[1]), {}

local function claim(stem, most)
  local due, claims = due_of(KIND, stem), {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)) do
    redis.call('ZREM', due, id)
    local found = kind.read(stem, id)
    if found then
      local lease, token = lease_of(KIND, stem, id), next_token(stem .. 'fence')
      redis.call('HSET', lease, 'f', token, 'l', now + LEASE)
      redis.call('ZADD', due, now + LEASE, id)
      claims[#claims + 1] = { id, token, tonumber(redis.call('HGET', lease, 'a') or 0), unpack(found) }
    end
  end
  return { redis.call('ZCOUNT', due, '-inf', now), claims }
end

for at = 2, #ARGV, 2 do answers[#answers + 1] = claim(ARGV[at], ARGV[at + 1]) end
return answers
