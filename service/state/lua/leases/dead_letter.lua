-- Move claimed work to the dead letters: I2, I7.
-- KEYS  due set, stem (never a key)
-- ARGV  now, id, token, reason, then what the kind needs
-- Returns 1, 0 if the lease is lost, -1 if there is no room for another dead letter.
local due, stem = KEYS[1], KEYS[2]
local now, id, token, reason = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local lease, dead = lease_of(KIND, stem, id), stem .. 'dead'
if not holds(lease, token, now) or not kind.gives_up(stem, id) then return 0 end
if kind.keeps_dead_letters and redis.call('XLEN', dead) >= DEAD_LETTERS then return -1 end

-- Add the dead letter with these additional fields. Returns its stream id.
local function add(fields)
  local common = { 'kind', KIND, 'key', id, 'reason', reason, 'at', now }
  for _, field in ipairs(fields) do common[#common + 1] = field end
  return redis.call('XADD', dead, 'MAXLEN', DEAD_LETTERS, '*', unpack(common))
end

redis.call('DEL', lease)
kind.give_up(stem, id, now, add)
schedule(due, id, kind.next_due(stem, id, now))
return 1
