-- Log an answer that was shown to a user, unless the user was deleted after it was read: I5, I8.
-- KEYS  log of what was shown, tombstone
-- ARGV  when the user was read, user, the answer's JSON, entries to keep
-- Returns 1, or 0 if the user was deleted.
if deleted_since(KEYS[2], ARGV[1]) then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'u', ARGV[2], 'a', ARGV[3])
return 1
