-- A user's pending events, to be folded into the summary.
-- commit       ARGV from 4: the version that was read (0: none), the number of folded events, the JSON-encoded id of
--              the last of them, the summary's JSON. It removes exactly these events.
-- dead letter  ARGV from 5: the number of events, the JSON-encoded id of the last of them. The summary stays.
kind.keeps_dead_letters = true

function kind.read(stem, user)
  local pending = redis.call('LRANGE', stem .. 'p:' .. user, 0, CLAIM_EVENTS - 1)
  if #pending == 0 then return nil end
  -- The recents are those without the pending events.
  return { redis.call('GET', stem .. 'u:' .. user) or '', pending, redis.call('LRANGE', stem .. 'r:' .. user, -RECENTS, -1) }
end

function kind.next_due(stem, user, now) return due_at(stem .. 'p:' .. user, now) end

-- Move the first pending events to the recents.
local function take(stem, user, entries)
  keep_recent(stem .. 'r:' .. user, stem .. 'i:' .. user, entries)
  redis.call('LTRIM', stem .. 'p:' .. user, #entries, -1)
  redis.call('DECRBY', stem .. 'backlog', #entries)
  expire_idle(stem .. 'r:' .. user, stem .. 'i:' .. user)
end

local function version_and_token(stem, user)
  return string.match(redis.call('GET', stem .. 'u:' .. user) or '0:', '^(%d+):(%d*)')
end

function kind.committed(stem, user, token)
  local _, writer = version_and_token(stem, user)
  return writer == token
end

function kind.commits(stem, user)
  return version_and_token(stem, user) == ARGV[4] and ends_with(stem .. 'p:' .. user, tonumber(ARGV[5]), ARGV[6])
end

function kind.commit(stem, user, token)
  local summary = stem .. 'u:' .. user
  redis.call('SET', summary, string.format('%d:%s:%s', ARGV[4] + 1, token, ARGV[7]))
  expire_idle(summary)
  take(stem, user, redis.call('LRANGE', stem .. 'p:' .. user, 0, ARGV[5] - 1))
end

function kind.gives_up(stem, user) return ends_with(stem .. 'p:' .. user, tonumber(ARGV[5]), ARGV[6]) end

function kind.give_up(stem, user, now, add)
  local fields, entries = {}, redis.call('LRANGE', stem .. 'p:' .. user, 0, ARGV[5] - 1)
  for _, entry in ipairs(entries) do
    fields[#fields + 1] = 'e'
    -- They stay among the recents, as the `s` says.
    fields[#fields + 1] = (string.gsub(entry, '^(%d+)%[', '%1s[', 1))
  end
  redis.call('RPUSH', stem .. 'y:' .. user, add(fields))
  take(stem, user, entries)
end

function kind.retry(stem, user, now, fields, letter)
  local pending, entries = stem .. 'p:' .. user, {}
  for at = 1, #fields, 2 do
    if fields[at] == 'e' then entries[#entries + 1] = now .. string.gsub(fields[at + 1], '^%d+', '') end
  end
  if redis.call('LLEN', pending) + #entries > MAX_PENDING then return -1 end
  push(pending, entries)
  redis.call('INCRBY', stem .. 'backlog', #entries)
  redis.call('LREM', stem .. 'y:' .. user, 0, letter)
  return due_at(pending, now)
end
