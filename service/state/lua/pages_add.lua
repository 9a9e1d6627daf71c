-- Remember the items of a recommendation, so that its next page does not repeat them: I5, I8.
-- KEYS  pages, tombstone
-- ARGV  when the user was read, recommendation id, items (JSON), recommendations to remember, for how long (ms)
-- Returns 1, or 0 if the user was deleted. A value is the time of its write, and the items.
local pages, now = KEYS[1], clock('0')
if deleted_since(KEYS[2], ARGV[1]) then return 0 end
redis.call('HSET', pages, ARGV[2], string.format('%.0f:%s', now, ARGV[3]))
redis.call('PEXPIRE', pages, ARGV[5])
while redis.call('HLEN', pages) > tonumber(ARGV[4]) do
  local oldest, name
  local all = redis.call('HGETALL', pages)
  for at = 1, #all, 2 do
    local written = tonumber(string.match(all[at + 1], '^%d+'))
    if all[at] ~= ARGV[2] and (not oldest or written < oldest) then oldest, name = written, all[at] end
  end
  redis.call('HDEL', pages, name)
end
return 1
