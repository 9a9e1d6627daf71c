"""Folding the logged events of users again, for example with a new summarizer (invariants I2, I3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service.state.keys import Keys
from service.state.redis.scripts import Call, Scripts

Outcome = Literal["rebuilt", "nothing", "incomplete", "too_many", "behind", "busy"]
"""What became of one user.

`incomplete`: events that were folded have left the log. `too_many`: more than `max_pending` events.
`behind`: much was logged since the caller read the log. `busy`: the bucket's backlog is full.
"""
_OUTCOMES: dict[int, Outcome] = {1: "rebuilt", 0: "nothing", -1: "incomplete", -2: "too_many", -3: "behind", -4: "busy"}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`events` of the user are pending again; some of them were in `dead_letters` dead letters."""

    outcome: Outcome
    events: int = 0
    dead_letters: int = 0


class Rebuilds:
    def __init__(self, scripts: Scripts, keys: Keys, max_pending: int) -> None:
        self._scripts = scripts
        self._keys = keys
        self._max_pending = max_pending

    async def rebuild(self, users: Mapping[str, Sequence[str]], last: str, *, partial: bool = False) -> list[Rebuilt]:
        """Make every logged event of each user pending again; the next fold begins with an empty summary.

        One atomic step for each user, whose readers see the old text until that fold. Doing it again
        before everything is folded changes nothing but where the fold begins.

        Args:
            users: users of one bucket, each with the ids of its entries in the log, oldest first.
            last: the last id up to which the caller has read that log. What came since is found here.
            partial: fold what the log still holds, and of that the newest `max_pending`.
        """
        results = await self._scripts.run([self._call(user, ids, last, partial) for user, ids in users.items()])
        return [Rebuilt(_OUTCOMES[number], events, letters) for number, events, letters in results]

    def _call(self, user_id: str, ids: Sequence[str], last: str, partial: bool) -> Call:
        keys = self._keys.user(user_id)
        names = (
            *(keys.log, keys.due, keys.dead, keys.backlog, keys.pending),
            *(keys.lease, keys.summary, keys.dead_letters, keys.tombstone),
        )
        # One more than can be pending, so that the script sees when there are too many.
        newest = ids[-self._max_pending - 1 :]
        return Call("rebuild", names, (self._scripts.now(), user_id, int(partial), last, *newest))
