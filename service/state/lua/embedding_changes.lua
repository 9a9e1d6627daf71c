-- Read the vectors of an index that changed, oldest change of each bucket first.
-- KEYS  a key of one of the buckets (a single Redis has one slot for all), and one that never exists, so that Redis
--       refuses the script while their slot moves; the other keys are built from stems
-- ARGV  how many, index, then for each bucket: stem, the last change that is known
-- Returns {1 if there may be more, for each bucket {item, change number, vector or nil if it was removed, ...}, for each
-- bucket the last change number of any index}.
local left, index, answers, last = tonumber(ARGV[1]), ARGV[2], {}, {}

local function changes(stem, after)
  local found = {}
  if left == 0 then return found end
  local rows = redis.call('ZRANGEBYSCORE', stem .. 'ec:' .. index, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, left)
  for at = 1, #rows, 2 do
    found[#found + 1] = rows[at]
    found[#found + 1] = rows[at + 1]
    found[#found + 1] = redis.call('HGET', stem .. 'e:' .. index, rows[at])
  end
  left = left - #rows / 2
  return found
end

for at = 3, #ARGV, 2 do
  answers[#answers + 1] = changes(ARGV[at], ARGV[at + 1])
  last[#last + 1] = redis.call('GET', ARGV[at] .. 'es') or '0'
end
return { left == 0 and 1 or 0, answers, last }
