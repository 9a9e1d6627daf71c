-- Return some of the newest items.
-- KEYS  new items
-- ARGV  the time since which items are new, how many, a seed
-- Returns ids, alternating between the newest items and items spread evenly over all, starting at the seed.
local all, count, seed = redis.call('ZCOUNT', KEYS[1], ARGV[1], '+inf'), tonumber(ARGV[2]), tonumber(ARGV[3])
local found, met, step = {}, {}, math.max(1, math.floor(all / count))
for turn = 0, math.min(all, count) - 1 do
  local place = turn % 2 == 0 and turn / 2 or (seed + turn * step) % all
  local id = redis.call('ZREVRANGE', KEYS[1], string.format('%d', place), string.format('%d', place))[1]
  if id and not met[id] then
    found[#found + 1], met[id] = id, true
  end
end
return found
