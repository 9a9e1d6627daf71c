-- Take the lock of a task, keep it for longer, or give it back.
-- KEYS  the lock
-- ARGV  whose it is to be, ms until it expires, or 0 to give it back
-- Returns 1, or 0 if another has it.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
