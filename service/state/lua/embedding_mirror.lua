-- Replace what is known of a copy of an index, if nobody else did in the meantime.
-- KEYS  the copies by collection
-- ARGV  collection; what it was, or ''; what it becomes, or '' to forget it
-- Returns 1, or 0 if it was something else.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
