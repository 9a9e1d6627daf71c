-- Cache scores of one user, unless the user is unknown or was deleted after it was read: I5, I8.
-- KEYS  scores, tombstone, summary, pending, recents
-- ARGV  when the user was read, cache key, scores of SCORE_BYTES each
-- Returns 1, or 0 if there is no such user. The time to live starts with the first score: if later scores extended it,
--         a score could outlive the stored revision of a deleted item.
local scores, cache_key, new = KEYS[1], ARGV[2], ARGV[3]
if deleted_since(KEYS[2], ARGV[1]) then return 0 end
if redis.call('EXISTS', KEYS[3], KEYS[4], KEYS[5]) == 0 then return 0 end

local kept = redis.call('GET', scores)
if kept and string.sub(kept, 1, #cache_key) == cache_key and #kept - #cache_key + #new <= SCORES * SCORE_BYTES then
  redis.call('SET', scores, kept .. new, 'KEEPTTL')
else
  redis.call('SET', scores, cache_key .. new, 'PX', SCORES_TTL)
end
return 1
