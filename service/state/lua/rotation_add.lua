-- Remember the items of an answer, which give way in the next ones: I5, I8.
-- KEYS  rotation, tombstone
-- ARGV  when the user was read, items (JSON), answers to remember, for how long (ms)
-- Returns 1, or 0 if the user was deleted.
if deleted_since(KEYS[2], ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[1], ARGV[2])
redis.call('LTRIM', KEYS[1], 0, ARGV[3] - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
