-- Make a user's logged events pending again, to be folded from an empty summary: I2, I3, I4, I5.
-- KEYS  log, due, dead, backlog, pending, lease, summary, dead letters of the user, tombstone
-- ARGV  now, user, 1 if some events may be missing, the last id of the log that the caller has read, then the ids of
--       the user's entries up to that id, oldest first
-- Returns {outcome, number of pending events, number of dead letters queued again}. Outcome 1: rebuilt; 0: there is
--         nothing to fold; -1: some folded events are no longer in the log; -2: more than MAX_PENDING events;
--         -3: too much was logged after the last id, so read on and call again; -4: the bucket's backlog is full.
--
-- The old text is shown until the first new fold: an `r` after the summary's token makes that fold begin with an
-- empty text. A worker that is folding the user loses its lease. Pending and dead-lettered events are kept as they
-- are, so that each is folded once even if this runs again: those no longer in the log come first, the others at
-- their position in the log. Events accepted before the user was deleted are ignored: the deletion may still be
-- removing them from the log.
local MAX_NEW = 1000
local log, due, dead, backlog, pending, lease, summary, dead_letters, tombstone = unpack(KEYS)
local now, user, partial, last = clock(ARGV[1]), ARGV[2], ARGV[3] == '1', ARGV[4]

local logged, deleted = {}, tonumber(redis.call('GET', tombstone) or 0) - SKEW
local function take(entries)
  for _, entry in ipairs(entries) do
    if entry[2][2] == user then
      local at, content = string.match(entry[2][4], '^(%d+)(.*)$')
      if tonumber(at) > deleted then logged[#logged + 1] = content end
    end
  end
end
for at = 5, #ARGV do take(redis.call('XRANGE', log, ARGV[at], ARGV[at])) end
local since = redis.call('XRANGE', log, '(' .. last, '+', 'COUNT', MAX_NEW)
if #since == MAX_NEW then return { -3, 0, 0 } end
take(since)

local kept, places = {}, {}
local function keep(entry)
  local mark, content = string.match(entry, '^%d+([rs]?)(.*)$')
  kept[#kept + 1] = { mark, content }
  places[content] = places[content] or {}
  table.insert(places[content], #kept)
end
local dead_ids, waiting = redis.call('LRANGE', dead_letters, 0, -1), redis.call('LRANGE', pending, 0, -1)
for _, id in ipairs(dead_ids) do
  local fields = redis.call('XRANGE', dead, id, id)[1][2]
  for field = 1, #fields, 2 do
    if fields[field] == 'e' then keep(fields[field + 1]) end
  end
end
for _, entry in ipairs(waiting) do keep(entry) end

-- Newest first: an event that was sent again after its dedupe time is in the log twice.
local marks, again, elsewhere = {}, #logged, #kept
for at = #logged, 1, -1 do
  local place = places[logged[at]] and table.remove(places[logged[at]])
  if place then
    marks[at], kept[place], again, elsewhere = kept[place][1], false, again - 1, elsewhere - 1
  end
end

local written, folded = redis.call('GET', summary), 0
if written and not string.find(written, '^%d+:%d*r') then
  folded = cjson.decode(string.sub(written, string.find(written, '[', 1, true), -1))[5]
end
if #logged + elsewhere == 0 or (not written and #kept == 0) then return { 0, 0, 0 } end
local over = math.max(0, #logged + elsewhere - MAX_PENDING)
if over > 0 and not partial or over > again then return { -2, 0, 0 } end
if folded > again and not partial then return { -1, 0, 0 } end

local entries = {}
for _, one in ipairs(kept) do
  if one then entries[#entries + 1] = now .. one[1] .. one[2] end
end
for at, content in ipairs(logged) do
  if not marks[at] and over > 0 then
    over = over - 1
  else
    entries[#entries + 1] = now .. (marks[at] or 'r') .. content
  end
end
local others = tonumber(redis.call('GET', backlog) or 0) - #waiting
if others > 0 and others + #entries > MAX_BACKLOG then return { -4, 0, 0 } end

push(pending, entries)
redis.call('LTRIM', pending, #waiting, -1)
redis.call('INCRBY', backlog, #entries - #waiting)
redis.call('DEL', lease, dead_letters)
for _, id in ipairs(dead_ids) do redis.call('XDEL', dead, id) end
if folded > 0 then
  redis.call('SET', summary, (string.gsub(written, '^%d+:%d*', '%0r', 1)), 'KEEPTTL')
end
schedule(due, user, due_at(pending, now))
return { 1, #entries, #dead_ids }
