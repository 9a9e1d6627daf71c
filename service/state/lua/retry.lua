-- Put the events of a dead letter behind the user's pending ones: I2, I7.
-- KEYS  dead, due, backlog, and the stems of pending, work and letters (the letter names its user)
-- ARGV  now, the letter's stream id
-- Returns 1, 0 when there is no such letter, -1 when the user's backlog is full.
local dead, due, backlog, pending_stem, work_stem, letters_stem = unpack(KEYS)
local now, id = clock(ARGV[1]), ARGV[2]
local letter = redis.call('XRANGE', dead, id, id)[1]
if not letter then return 0 end

local user, entries = nil, {}
for field = 1, #letter[2], 2 do
  local name, value = letter[2][field], letter[2][field + 1]
  if name == 'key' then user = value end
  if name == 'e' then entries[#entries + 1] = now .. string.gsub(value, '^%d+', '') end
end
local pending = pending_stem .. user
local waiting = redis.call('LLEN', pending) + #entries
if waiting > MAX_PENDING then return -1 end

push(pending, entries)
redis.call('INCRBY', backlog, #entries)
redis.call('XDEL', dead, id)
redis.call('LREM', letters_stem .. user, 0, id)
if not held(work_stem .. user, now) then
  redis.call('ZADD', due, 'LT', due_at(pending, waiting, now), user)
end
return 1
