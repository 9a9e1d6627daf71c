-- Write the result of claimed work and end the lease: I2, I3, I4.
-- KEYS  due set, stem (never a key)
-- ARGV  now, id, token, then what the kind writes
-- Returns 1: committed; 2: this commit was made before and its answer was lost; 0: the lease is lost, or the kind
--         refuses the commit; another number: why the kind refuses it.
local due, stem = KEYS[1], KEYS[2]
local now, id, token = clock(ARGV[1]), ARGV[2], ARGV[3]
local lease = lease_of(KIND, stem, id)
if not holds(lease, token, now) then return kind.committed(stem, id, token) and 2 or 0 end
local commits = kind.commits(stem, id)
if commits ~= true then return commits or 0 end

redis.call('DEL', lease)
kind.commit(stem, id, token, now)
schedule(due, id, kind.next_due(stem, id, now))
return 1
