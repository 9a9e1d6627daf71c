-- Accept events of one user, all or nothing: I1, I2 (never twice), I5, I6.
-- KEYS  due, pending, work, recents, seen, dedupe, tombstone, summary
-- ARGV  now ('0': Redis), user, received at, then for each event: 8-byte digest of its id,
--       pending entry (JSON), recents entry (JSON)
-- Returns one number per event: 1 accepted, 2 duplicate, 3 deleted, 4 backlog full.
local due, pending, work, recents, seen, dedupe, tombstone, summary = unpack(KEYS)
local now, user, received = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local results = {}

local deleted = redis.call('GET', tombstone)
if deleted and received <= tonumber(deleted) then
  for event = 4, #ARGV, 3 do results[#results + 1] = 3 end
  return results
end

local ids = redis.call('GET', dedupe) or ''
local function known(digest)
  local from = 1
  while true do
    local at = string.find(ids, digest, from, true)
    if not at then return false end
    if at % 8 == 1 then return true end
    from = at + 1
  end
end

local waiting = redis.call('LLEN', pending)
local new_ids, new_pending, new_recents = {}, {}, {}
for event = 4, #ARGV, 3 do
  local digest = ARGV[event]
  if known(digest) then
    results[#results + 1] = 2
  elseif waiting >= MAX_PENDING then
    results[#results + 1] = 4
  else
    waiting = waiting + 1
    ids = ids .. digest
    new_ids[#new_ids + 1] = digest
    new_pending[#new_pending + 1] = now .. ARGV[event + 1]
    new_recents[#new_recents + 1] = ARGV[event + 2]
    results[#results + 1] = 1
  end
end
if #new_ids == 0 then return results end

redis.call('RPUSH', pending, unpack(new_pending))
-- Small strings are set anew, because APPEND reserves as much again; large ones are appended to,
-- because a log of whole copies would outweigh the events.
if #ids > DEDUPE * 10 then
  redis.call('SET', dedupe, string.sub(ids, -DEDUPE * 8))
elseif #ids <= 256 then
  redis.call('SET', dedupe, ids)
else
  redis.call('APPEND', dedupe, table.concat(new_ids))
end
redis.call('PEXPIRE', dedupe, DEDUPE_TTL)

local over = redis.call('RPUSH', recents, unpack(new_recents)) - RECENTS
if over > 0 then
  local gone = {}
  for _, entry in ipairs(redis.call('LPOP', recents, over)) do
    local item = cjson.decode(entry)[1]
    redis.call('LREM', seen, 0, item)
    gone[#gone + 1] = item
  end
  redis.call('RPUSH', seen, unpack(gone))
  redis.call('LTRIM', seen, -SEEN, -1)
end

if not held(work, now) then
  redis.call('ZADD', due, 'LT', due_at(pending, waiting, now), user)
end
if USER_TTL > 0 then
  for _, key in ipairs({ summary, recents, seen }) do redis.call('PEXPIRE', key, USER_TTL) end
end
return results
