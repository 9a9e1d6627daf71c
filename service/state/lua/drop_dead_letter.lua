-- Remove a dead letter permanently: I7.
-- KEYS  dead letters, stem (never a key)
-- ARGV  the dead letter's stream id
-- Returns 1, or 0 if there is no such dead letter.
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return 0 end
redis.call('LREM', KEYS[2] .. 'y:' .. field_of(letter[2], 'key'), 0, ARGV[1])
return redis.call('XDEL', KEYS[1], ARGV[1])
