-- Remove one user's entries from a part of the log: I5.
-- KEYS  log
-- ARGV  user, first id, last id, how many entries to check
-- Returns {how many were removed, the id to continue from or '' at the end}.
local entries = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[3], 'COUNT', ARGV[4])
local mine = {}
for _, entry in ipairs(entries) do
  if entry[2][2] == ARGV[1] then mine[#mine + 1] = entry[1] end
end
if #mine > 0 then redis.call('XDEL', KEYS[1], unpack(mine)) end
return { #mine, #entries == tonumber(ARGV[4]) and '(' .. entries[#entries][1] or '' }
