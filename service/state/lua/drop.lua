-- Drop a dead letter for good: I7.
-- KEYS  dead, stem of letters (the letter names its user)
-- ARGV  the letter's stream id
-- Returns 1, or 0 when there is no such letter.
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return 0 end
for field = 1, #letter[2], 2 do
  if letter[2][field] == 'key' then redis.call('LREM', KEYS[2] .. letter[2][field + 1], 0, ARGV[1]) end
end
return redis.call('XDEL', KEYS[1], ARGV[1])
