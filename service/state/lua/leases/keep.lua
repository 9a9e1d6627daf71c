-- Keep a part of the result of claimed work; the lease stays: I4.
-- KEYS  due set, stem (never a key)
-- ARGV  now, id, token, then what the kind writes
-- Returns 1, 0 if the lease is lost, or why the kind refuses the part.
local stem, now, id, token = KEYS[2], clock(ARGV[1]), ARGV[2], ARGV[3]
if not holds(lease_of(KIND, stem, id), token, now) then return 0 end
local commits = kind.commits(stem, id)
if commits ~= true then return commits or 0 end
kind.keep(stem, id)
return 1
