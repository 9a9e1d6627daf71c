-- Write the new summary and remove exactly the events folded into it: I2, I3, I4.
-- KEYS  due, pending, work, summary, recents, seen, backlog
-- ARGV  now, user, token, the version that was read (0: none), number of folded events,
--       JSON-encoded id of the last of them, the summary's JSON
-- Returns 1 committed, 2 this very commit was already made (its answer was lost), 0 lost: another
--         worker may hold the user, the lease ran out, or the user was deleted.
local due, pending, work, summary, recents, seen, backlog = unpack(KEYS)
local now, user, token, version, folded = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local written, writer = string.match(redis.call('GET', summary) or '0:', '^(%d+):(%d*)')
if not holds(work, token, now) then
  return writer == token and 2 or 0
end
if written ~= version or not ends_with(pending, folded, ARGV[6]) then return 0 end

redis.call('DEL', work)
redis.call('SET', summary, string.format('%d:%s:%s', version + 1, token, ARGV[7]))
keep_recent(recents, seen, redis.call('LRANGE', pending, 0, folded - 1))
redis.call('LTRIM', pending, folded, -1)
redis.call('DECRBY', backlog, folded)
rearm(due, pending, user, now)
expire_idle(summary, recents, seen)
return 1
