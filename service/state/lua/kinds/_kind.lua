-- What a kind of leased work defines for the scripts under leases/, and the defaults. `stem` is that of the work's
-- bucket. `read(stem, id)` returns the values of a claim, or nil if there is nothing to do; `commit(stem, id, token,
-- now)` writes the result; `give_up(stem, id, now, add)` adds the dead letter; `retry(stem, id, now, fields, letter)`
-- returns when the work of a dead letter is due, nil or false if it is no longer needed, -1 if there is no room.
-- A kind with `keeps_dead_letters` never drops the oldest one for another.
local kind = {}

-- When the work is due again after a commit or dead letter, or nil.
function kind.next_due() return nil end

-- Whether the commit with this token was already made.
function kind.committed() return false end

-- Whether the result belongs to the current state of the work, which the holder of a lease may commit or give up; a
-- number says why not.
function kind.commits() return true end

function kind.gives_up() return true end

