-- Move the first pending events of a claimed user to the dead letters; the summary stays: I2, I7.
-- KEYS  due, pending, work, dead, letters, backlog, recents, seen
-- ARGV  now, user, token, reason, number of events, JSON-encoded id of the last of them
-- Returns 1, 0 when the lease is lost, -1 when no more dead letters may be kept: no event is
--         thrown away for another.
local due, pending, work, dead, letters, backlog, recents, seen = unpack(KEYS)
local now, user, token, count = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[5])
if not holds(work, token, now) or not ends_with(pending, count, ARGV[6]) then return 0 end
if redis.call('XLEN', dead) >= DEAD_LETTERS then return -1 end

local fields, entries = { 'key', user, 'reason', ARGV[4], 'at', now }, redis.call('LRANGE', pending, 0, count - 1)
for _, entry in ipairs(entries) do
  fields[#fields + 1] = 'e'
  -- They stay among the recents, an `s` says so.
  fields[#fields + 1] = (string.gsub(entry, '^(%d+)%[', '%1s[', 1))
end
redis.call('DEL', work)
keep_recent(recents, seen, entries)
redis.call('RPUSH', letters, redis.call('XADD', dead, '*', unpack(fields)))
redis.call('LTRIM', pending, count, -1)
redis.call('DECRBY', backlog, count)
rearm(due, pending, user, now)
expire_idle(recents, seen)
return 1
