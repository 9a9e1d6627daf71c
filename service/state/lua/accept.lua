-- Accept events of several users, all or nothing: I1, I2 (never twice), I5, I6, I8.
-- KEYS  a key of the users' slot (a single Redis has one slot for all), and one that never exists, so that Redis
--       refuses the script while that slot moves; the others are built from stems
-- ARGV  now ('0': Redis), then for each user: stem, user, received at, number of events, then for each event: 8-byte
--       digest of its id, with a mark appended if it came without id and time; the part of the pending entry before
--       the tab (JSON); the recents entry (JSON)
-- Returns one number per event: 1 accepted, 2 duplicate, 3 deleted, 4 the user's backlog is full,
--         5 the bucket's backlog is full.
local call = redis.call
local now = clock(ARGV[1])
local accepted_at = string.format('%.0f', now)
local results, backlogs, changed, again = {}, {}, {}, {}

local function known(ids, digest)
  local from = 1
  while true do
    local at = string.find(ids, digest, from, true)
    if not at then return false end
    if at % 8 == 1 then return true end
    from = at + 1
  end
end

-- Whether two digests have the same item and content and arrived within RETRY of each other. A digest has 2 bytes of
-- the item, 3 of the content and 3 of the second of arrival, see ids.py.
local function same(one, other)
  if string.sub(one, 1, 5) ~= string.sub(other, 1, 5) then return false end
  local a, b, c = string.byte(one, 6, 8)
  local d, e, f = string.byte(other, 6, 8)
  local apart = ((a - d) * 65536 + (b - e) * 256 + c - f) % 16777216
  return math.min(apart, 16777216 - apart) <= RETRY
end

-- How many of a request's marked events about one item, from the first on, were sent before: the largest number for
-- which the newest known events about the item are the same in the same order.
local function sent_before(ids, event, last)
  local item = string.sub(ARGV[event], 1, 2)
  local sent, newest = {}, {}
  for at = event, last, 3 do
    if #ARGV[at] == 9 and string.sub(ARGV[at], 1, 2) == item then sent[#sent + 1] = ARGV[at] end
  end
  for at = #ids - 7, 1, -8 do
    if string.sub(ids, at, at + 1) == item then
      newest[#newest + 1] = string.sub(ids, at, at + 7)
      if #newest == #sent then break end
    end
  end
  for most = #newest, 1, -1 do
    local equal = true
    for at = 1, most do equal = equal and same(newest[most + 1 - at], sent[at]) end
    if equal then return most end
  end
  return 0
end

-- Small strings are rewritten, because APPEND reserves twice the space; large ones are appended to, because copies of
-- them in the append-only file would be larger than the events. They live up to twice as long as needed, because
-- setting the time to live with every event would cost more.
local function remember(dedupe, ids, new)
  if #ids == 8 * #new then
    call('SET', dedupe, ids, 'PX', 2 * DEDUPE_TTL)
    return
  elseif #ids > DEDUPE * 10 then
    call('SET', dedupe, string.sub(ids, -DEDUPE * 8), 'KEEPTTL')
  elseif #ids > 256 then
    call('APPEND', dedupe, table.concat(new))
  else
    call('SET', dedupe, ids, 'KEEPTTL')
  end
  if call('PTTL', dedupe) < DEDUPE_TTL then call('PEXPIRE', dedupe, 2 * DEDUPE_TTL) end
end

-- A user with pending events is in the due set. Only the first event, and the one that fills a block, change the time.
local function make_due(stem, user, before, waiting)
  if before >= BLOCK or (before > 0 and waiting < BLOCK) then return end
  if held(lease_of('summarize', stem, user), now) then return end
  call('ZADD', due_of('summarize', stem), 'LT', waiting < BLOCK and now + MAX_WAIT or now, user)
end

local function accept(stem, user, received, first, last)
  local dedupe, pending = stem .. 'd:' .. user, stem .. 'p:' .. user
  local deleted, ids = call('GET', stem .. 'x:' .. user), call('GET', dedupe)
  if deleted and received <= tonumber(deleted) then
    for _ = first, last, 3 do results[#results + 1] = 3 end
    return
  end

  ids = ids or ''
  local before, backlog = call('LLEN', pending), backlogs[stem]
  local waiting, new_ids, new_pending, left = before, {}, {}, {}

  local function duplicate(event, digest)
    if #ARGV[event] == 8 then return known(ids, digest) end
    local item = string.sub(digest, 1, 2)
    left[item] = left[item] or (known(ids, string.sub(digest, 1, 5)) and sent_before(ids, event, last) or 0)
    if left[item] == 0 then return false end
    left[item] = left[item] - 1
    return true
  end

  for event = first, last, 3 do
    local digest = string.sub(ARGV[event], 1, 8)
    if duplicate(event, digest) then
      results[#results + 1] = 2
    elseif waiting >= MAX_PENDING then
      results[#results + 1] = 4
    elseif backlog >= MAX_BACKLOG then
      results[#results + 1] = 5
    else
      waiting, backlog = waiting + 1, backlog + 1
      ids = ids .. digest
      new_ids[#new_ids + 1] = digest
      new_pending[#new_pending + 1] = accepted_at .. ARGV[event + 1] .. '\t' .. ARGV[event + 2]
      results[#results + 1] = 1
    end
  end
  if #new_ids == 0 then
    again[#again + 1] = dedupe
    return
  end

  backlogs[stem], changed[stem] = backlog, true
  call('RPUSH', pending, unpack(new_pending))
  remember(dedupe, ids, new_ids)
  if LOG > 0 then
    for _, entry in ipairs(new_pending) do
      call('XADD', stem .. 'log', 'MAXLEN', '~', LOG, '*', 'u', user, 'e', entry)
    end
  end
  make_due(stem, user, before, waiting)
  expire_idle(stem .. 'u:' .. user, stem .. 'r:' .. user, stem .. 'i:' .. user)
end

local at = 2
while at <= #ARGV do
  local stem, events = ARGV[at], tonumber(ARGV[at + 3])
  if not backlogs[stem] then backlogs[stem] = tonumber(call('GET', stem .. 'backlog') or 0) end
  accept(stem, ARGV[at + 1], tonumber(ARGV[at + 2]), at + 4, at + 3 + 3 * events)
  at = at + 4 + 3 * events
end
for stem in pairs(changed) do call('SET', stem .. 'backlog', backlogs[stem]) end
-- A write, so that a WAIT after it also covers the first acceptance of a duplicate.
for _, dedupe in ipairs(again) do call('PEXPIRE', dedupe, 2 * DEDUPE_TTL) end
return results
