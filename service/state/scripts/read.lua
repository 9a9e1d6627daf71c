-- Read all that a request needs of a user, at one instant: I6.
-- KEYS  summary, pending, recents, seen
-- ARGV  now
-- Returns {summary or '', the RECENTS newest events by event time, oldest first, number of pending events,
--         items of all others that are remembered, now}. Every pending event is looked at: the last to
--         arrive need not be the last that happened.
local waiting, recents = redis.call('LLEN', KEYS[2]), redis.call('LRANGE', KEYS[3], 0, -1)
local seen = redis.call('LRANGE', KEYS[4], 0, -1)
if waiting > 0 then
  for _, entry in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do recents[#recents + 1] = shown(entry) end
  recents = by_time(recents)
end
local newest, named = {}, {}
for at, entry in ipairs(recents) do
  if at > #recents - RECENTS then
    newest[#newest + 1] = entry
  else
    local item = item_of(entry)
    if not named[item] then seen[#seen + 1] = item end
    named[item] = true
  end
end
return { redis.call('GET', KEYS[1]) or '', newest, waiting, seen, clock(ARGV[1]) }
