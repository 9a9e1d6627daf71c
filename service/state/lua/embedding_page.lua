-- Count a page of a bucket's items by what the wanted and the current index have of them, and queue those without a
-- vector: I4.
-- KEYS  list of the bucket's items, stem (never a key)
-- ARGV  now, kind, the id before the page, how many, wanted index, 1 to queue what it lacks, current index or '',
--       1 to queue what it lacks
-- Returns {the last id or '', queued, lost, then for each index: embedded, failed, pending, stale}. An item is counted in
--         one of the first three: the index has a vector of its current content, its model has failed, or neither. It is
--         also stale if the index has an older vector. Lost are items that only the current index has, and that are not
--         waiting for a picture: with a swap they could no longer be found.
local stem, now, name = KEYS[2], clock(ARGV[1]), ARGV[2]
local derived = DERIVED[name]
local indexes = { ARGV[5], ARGV[7] }
local counts, queued, lost = { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } }, 0, 0

local function names(words, index) return string.find(' ' .. (words or '') .. ' ', ' ' .. index .. ' ', 1, true) end

local function count(item, place, fields)
  local index, row = indexes[place], counts[place]
  local has = redis.call('HEXISTS', stem .. 'e:' .. index, item) == 1
  local embedded = has and names(fields[1], index)
  local state = embedded and 1 or names(fields[2], index) and 2 or 3
  row[state] = row[state] + 1
  if has and not embedded then row[4] = row[4] + 1 end
  return has, state
end

local function queue(item)
  if held(lease_of(name, stem, item), now) then return end
  queued = queued + redis.call('ZADD', due_of(name, stem), 'NX', now, item)
end

local after = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local items = redis.call('ZRANGEBYLEX', KEYS[1], after, '+', 'LIMIT', 0, ARGV[4])
for _, item in ipairs(items) do
  local fields = redis.call('HMGET', stem .. 'm:' .. item, derived.result, derived.model, 'url')
  local has, state = count(item, 1, fields)
  local lacks = state == 3 and ARGV[6] == '1'
  if indexes[2] ~= '' then
    local had, other = count(item, 2, fields)
    lacks = lacks or (other == 3 and ARGV[8] == '1')
    if had and not has and state == 3 and not fields[3] then lost = lost + 1 end
  end
  if lacks and not fields[3] then queue(item) end
end

local answer = { items[#items] or '', queued, lost }
for place = 1, 2 do
  for at = 1, 4 do answer[#answer + 1] = counts[place][at] end
end
return answer
