-- Precedes every script, after one line of constants from the settings:
-- BLOCK, MAX_WAIT, LEASE, RECENTS, SPARE, SEEN, DEDUPE, DEDUPE_TTL, RETRY, MAX_PENDING, MAX_BACKLOG, LOG, CLAIM_EVENTS,
-- TOMBSTONE, SKEW, DEAD_LETTERS, SCORES, SCORE_BYTES, SCORES_TTL, USER_TTL, DERIVED. Times are in milliseconds;
-- MAX_BACKLOG and LOG are one bucket's share; DERIVED has the kinds of kinds/derive.lua by name.
--
-- When Redis has reached maxmemory, it refuses the first write of a script if that may need memory, but not later ones.
-- Scripts that add data therefore begin with a write that needs memory, so that they are refused as a whole. Scripts
-- that reduce the backlog begin with one that frees memory, so that a full Redis can still be drained.

-- The most values for one `unpack`. It fails at some thousands, and a script that fails after its first write is
-- left incomplete.
local MAX_UNPACKED = 500

-- Append any number of values, at least one, to the list. Returns the list's length.
local function push(list, values)
  local length
  for from = 1, #values, MAX_UNPACKED do
    length = redis.call('RPUSH', list, unpack(values, from, math.min(from + MAX_UNPACKED - 1, #values)))
  end
  return length
end

-- The time: `given`, or Redis's clock if that is '0'. The leases and due times of a bucket are all measured by the
-- clock of the server that holds it.
local function clock(given)
  if given ~= '0' then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- I5: whether a user was deleted after it was read, at the time `read`.
local function deleted_since(tombstone, read)
  local deleted = redis.call('GET', tombstone)
  return deleted and tonumber(read) <= tonumber(deleted)
end

-- Let the keys of an idle user expire, if the settings say so.
local function expire_idle(...)
  if USER_TTL > 0 then
    for _, key in ipairs({ ... }) do redis.call('PEXPIRE', key, USER_TTL) end
  end
end

-- The keys of a kind of leased work, see keys.py.
local function due_of(name, stem) return stem .. name .. '_due' end

local function lease_of(name, stem, id) return stem .. name .. '_lease:' .. id end

-- Whether the work can't be claimed now, because of a lease or of the delay after a failure.
local function held(lease, now)
  local till = redis.call('HGET', lease, 'l')
  return till and tonumber(till) > now
end

-- I4: whether the lease is that of `token` and has not expired.
local function holds(lease, token, now)
  return redis.call('HGET', lease, 'f') == token and held(lease, now)
end

-- Make work without a lease due at `at`, or not due if `at` is nil or false.
local function schedule(due, id, at)
  if at then redis.call('ZADD', due, at, id) else redis.call('ZREM', due, id) end
end

-- The first value of the field in a dead letter.
local function field_of(fields, name)
  for at = 1, #fields, 2 do
    if fields[at] == name then return fields[at + 1] end
  end
end

-- A fencing token: greater than all earlier ones, even if Redis has lost its last writes.
local function next_token(fence)
  local time = redis.call('TIME')
  local token = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('GET', fence) or 0) + 1)
  local text = string.format('%.0f', token)
  redis.call('SET', fence, text)
  return text
end

-- When a user is due: now if a block is full, else when the oldest event has waited MAX_WAIT; nil if nothing is
-- pending. Pending entries begin with the time of acceptance.
local function due_at(pending, now)
  local waiting = redis.call('LLEN', pending)
  if waiting >= BLOCK then return now end
  return waiting > 0 and tonumber(string.match(redis.call('LINDEX', pending, 0), '^%d+')) + MAX_WAIT or nil
end

-- Whether an item has the field from which the result is derived.
local function has_needed(item, derived)
  return (redis.call('HGET', item, derived.needs) or '') ~= ''
end

-- Remove everything derived from an item's words and picture.
local function void_derived(item)
  for _, derived in pairs(DERIVED) do redis.call('HDEL', item, derived.result, derived.model, derived.token) end
end

-- End the leases of all workers that derive something from an item.
local function end_derivations(stem, id)
  for name in pairs(DERIVED) do
    redis.call('DEL', lease_of(name, stem, id))
    redis.call('ZREM', due_of(name, stem), id)
  end
end

-- Make the derivation of every missing result of an item due.
local function derive(stem, id, now)
  local item = stem .. 'm:' .. id
  for name, derived in pairs(DERIVED) do
    local missing = has_needed(item, derived) and redis.call('HEXISTS', item, derived.token) == 0
    schedule(due_of(name, stem), id, missing and now)
  end
end

-- Remove an item's vectors from all indexes, see kinds/embed.lua.
local function remove_vectors(stem, id)
  for _, index in ipairs(redis.call('HKEYS', stem .. 'ei')) do
    if redis.call('HDEL', stem .. 'e:' .. index, id) == 1 then
      local number = next_token(stem .. 'es')
      redis.call('ZADD', stem .. 'ec:' .. index, number, id)
      redis.call('ZADD', stem .. 'et:' .. index, number, id)
    end
  end
end

-- Whether pending entry number `count` is the event with this JSON-encoded id.
local function ends_with(pending, count, id)
  local entry = redis.call('LINDEX', pending, count - 1)
  if not entry then return false end
  local from = string.find(entry, '[', 1, true) + 1
  return string.sub(entry, from, from + #id - 1) == id
end

-- The position in a pending entry at which its recents entry begins. Nil if it is not to be added to the recents, as a
-- letter after its time says: it is among them since it was dead-lettered or folded before, or it is an exposure.
local function shown_from(entry)
  return string.find(entry, '^%d+%[') and string.find(entry, '\t', 1, true) + 1
end

-- The item of a recents entry, its first field.
local function item_of(entry)
  return string.match(entry, '^%["([^"\\]*)"') or cjson.decode(entry)[1]
end

-- The newest SEEN of the items, each once, oldest first.
local function newest(items)
  local found, kept = {}, {}
  for at = #items, 1, -1 do
    local item = items[at]
    if not found[item] then
      found[item] = true
      table.insert(kept, item)
      if #kept == SEEN then break end
    end
  end
  for at = 1, #kept / 2 do kept[at], kept[#kept + 1 - at] = kept[#kept + 1 - at], kept[at] end
  return kept
end

-- The event time of a recents entry: its last field before the value.
local function time_of(entry)
  -- The first pattern tries one position: a time of 13 digits and no value.
  local time = string.match(entry, '^",(%d+)%]$', #entry - 15) or string.match(entry, '",(%d+)[,%d.eE+-]*%]$')
  return tonumber(time or cjson.decode(entry)[3])
end

-- The recents entries sorted by event time; the sort is stable.
local function by_time(entries)
  local times, sorted = {}, true
  for at, entry in ipairs(entries) do
    times[at] = time_of(entry)
    sorted = sorted and (at == 1 or times[at] >= times[at - 1])
  end
  if sorted then return entries end
  local places, ordered = {}, {}
  for at = 1, #entries do places[at] = at end
  table.sort(places, function(one, other)
    return times[one] < times[other] or (times[one] == times[other] and one < other)
  end)
  for at, place in ipairs(places) do ordered[at] = entries[place] end
  return ordered
end

-- Merge the entries into the recents, both sorted by event time. Returns the number of recents.
local function insert(recents, entries)
  local newest = redis.call('LINDEX', recents, -1)
  if not newest or time_of(newest) <= time_of(entries[1]) then return push(recents, entries) end
  local all = redis.call('LRANGE', recents, 0, -1)
  for _, entry in ipairs(entries) do all[#all + 1] = entry end
  redis.call('DEL', recents)
  return push(recents, by_time(all))
end

-- Move entries that leave the pending events to the recents, and the items of the oldest recents to `seen`. Both
-- lists are shortened by several entries at a time.
local function keep_recent(recents, seen, entries)
  local new = {}
  for _, entry in ipairs(entries) do
    local from = shown_from(entry)
    if from then new[#new + 1] = string.sub(entry, from) end
  end
  if #new == 0 then return end
  local over = insert(recents, by_time(new)) - RECENTS
  if over <= SPARE then return end
  local gone = {}
  for _, entry in ipairs(redis.call('LPOP', recents, over)) do gone[#gone + 1] = item_of(entry) end
  if push(seen, gone) <= SEEN * 1.25 then return end
  local kept = newest(redis.call('LRANGE', seen, 0, -1))
  redis.call('DEL', seen)
  push(seen, kept)
end

-- Keep the `most` members of a ranking with the highest counts. It may grow by a quarter before it is cut, so that a
-- new member is not removed immediately. Returns the number of members.
local function keep_most(ranking, most)
  local kept = redis.call('ZCARD', ranking)
  if kept <= most * 1.25 then return kept end
  redis.call('ZREMRANGEBYRANK', ranking, 0, kept - most - 1)
  return most
end

-- List an item under its `new` terms instead of the `old` ones: concatenated names of eight characters.
local function list_terms(stem, item, id, old, new)
  if old == new then return end
  for at = 1, #old, 8 do redis.call('ZREM', stem .. 't:' .. old:sub(at, at + 7), id) end
  for at = 1, #new, 8 do redis.call('ZADD', stem .. 't:' .. new:sub(at, at + 7), 0, id) end
  if new == '' then redis.call('HDEL', item, 'tm') else redis.call('HSET', item, 'tm', new) end
end
