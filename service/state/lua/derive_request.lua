-- Queue an item for a result of a model: I4.
-- KEYS  item, stem (never a key)
-- ARGV  now, item id, kind, model, 1 if the item has the result but it was lost
-- Returns 1 if the item is queued now; 0 if it needs no result, has been tried with this model, is being worked on or
--         was queued before.
local item, stem = KEYS[1], KEYS[2]
local now, id, name, model, lost = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local derived = DERIVED[name]
if not has_needed(item, derived) or redis.call('HEXISTS', item, 'url') == 1 then return 0 end
local tried = ' ' .. (redis.call('HGET', item, derived.model) or '') .. ' '
if not lost and string.find(tried, ' ' .. model .. ' ', 1, true) then return 0 end
if held(lease_of(name, stem, id), now) then return 0 end
return redis.call('ZADD', due_of(name, stem), 'NX', now, id)
