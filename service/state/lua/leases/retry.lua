-- Queue the work of a dead letter again and remove the dead letter: I2, I7.
-- KEYS  due set, stem (never a key)
-- ARGV  now, the dead letter's stream id
-- Returns 1, 0 if there is no such dead letter, -1 if there is no room for its work. A dead letter whose work is no
--         longer needed is only removed.
local due, stem, now = KEYS[1], KEYS[2], clock(ARGV[1])
local dead = stem .. 'dead'
local letter = redis.call('XRANGE', dead, ARGV[2], ARGV[2])[1]
if not letter then return 0 end

local fields = letter[2]
local id = field_of(fields, 'key')
local at = kind.retry(stem, id, now, fields, ARGV[2])
if at == -1 then return -1 end
redis.call('XDEL', dead, ARGV[2])
if at and not held(lease_of(KIND, stem, id), now) then redis.call('ZADD', due, 'LT', at, id) end
return 1
