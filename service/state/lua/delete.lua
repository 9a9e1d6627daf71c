-- Delete a user, and refuse events received before: I5. The log's entries are deleted by log_forget.lua.
-- KEYS  tombstone, due, dead, backlog, log, pending, dead_letters, summary, recents, seen, then every other
--       key of the user
-- ARGV  now by the caller's clock, user, now ('0': Redis)
-- Returns {1 if there was anything, the tombstone's time, the id of the log's last entry or '',
--          number of dead letters, number of pending events, the summary or '', recents, seen}.
local tombstone, due, dead, backlog, log, pending, dead_letters, summary, recents, seen = unpack(KEYS)
local user = ARGV[2]

local gone, waiting = redis.call('ZREM', due, user), redis.call('LLEN', pending)
local written, dead_ids = redis.call('GET', summary) or '', redis.call('LRANGE', dead_letters, 0, -1)
local newest, before = redis.call('LRANGE', recents, 0, -1), redis.call('LRANGE', seen, 0, -1)
for _, id in ipairs(dead_ids) do redis.call('XDEL', dead, id) end
for key = 6, #KEYS do gone = gone + redis.call('DEL', KEYS[key]) end
if waiting > 0 then redis.call('DECRBY', backlog, waiting) end

local till = math.max(tonumber(ARGV[1]), clock(ARGV[3])) + SKEW
redis.call('SET', tombstone, till, 'PX', TOMBSTONE)
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
return { gone > 0 and 1 or 0, till, last and last[1] or '', #dead_ids, waiting, written, newest, before }
