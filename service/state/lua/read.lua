-- Read everything that a request needs of a user, at one instant: I6.
-- KEYS  summary, pending, recents, seen
-- ARGV  now
-- Returns {summary or '', the RECENTS newest events by event time, oldest first, number of pending events,
--         items of all older events that are stored, now}. Every pending event is checked, since the last to arrive
--         need not be the newest by event time.
local waiting, seen = redis.call('LLEN', KEYS[2]), redis.call('LRANGE', KEYS[4], 0, -1)
local newest, times, named = {}, {}, {}

local function remember(entry, from)
  local item = string.match(entry, '^%["([^"\\]*)"', from) or item_of(string.sub(entry, from))
  if not named[item] then
    named[item] = true
    seen[#seen + 1] = item
  end
end

-- Called with the last to arrive first: then most of a long list are older than the newest found so far.
local function look(entry, from)
  local time, place = time_of(entry), #newest
  if place == RECENTS and time <= times[1] then return remember(entry, from) end
  while place > 0 and times[place] >= time do place = place - 1 end
  table.insert(newest, place + 1, string.sub(entry, from))
  table.insert(times, place + 1, time)
  if #newest > RECENTS then
    table.remove(times, 1)
    remember(table.remove(newest, 1), 1)
  end
end

if waiting > 0 then
  local entries = redis.call('LRANGE', KEYS[2], 0, -1)
  for at = waiting, 1, -1 do
    local from = shown_from(entries[at])
    if from then look(entries[at], from) end
  end
end
local recents = redis.call('LRANGE', KEYS[3], 0, -1)
if waiting == 0 then
  for at = math.max(1, #recents - RECENTS + 1), #recents do newest[#newest + 1] = recents[at] end
  for at = 1, #recents - RECENTS do remember(recents[at], 1) end
else
  for at = #recents, 1, -1 do look(recents[at], 1) end
end
return { redis.call('GET', KEYS[1]) or '', newest, waiting, seen, clock(ARGV[1]) }
