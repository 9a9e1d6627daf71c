-- Drop a dead letter for good: I7.
-- KEYS  dead letters, stem (never a key)
-- ARGV  the letter's stream id
-- Returns 1, or 0 when there is no such letter.
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return 0 end
redis.call('LREM', KEYS[2] .. 'y:' .. field_of(letter[2], 'key'), 0, ARGV[1])
return redis.call('XDEL', KEYS[1], ARGV[1])
