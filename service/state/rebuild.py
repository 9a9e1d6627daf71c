"""Queues the logged events of users to be folded again, for example by a new summarizer (invariants I2, I3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service.state.keys import Keys
from service.state.kinds import SUMMARIZE
from service.state.redis.scripts import Call, Scripts

Outcome = Literal["rebuilt", "nothing", "incomplete", "too_many", "behind", "busy"]
"""The result for one user.

`incomplete`: folded events are no longer in the log. `too_many`: more than `max_pending` events.
`behind`: too much was logged since the caller read the log. `busy`: the bucket's backlog is full.
"""
_OUTCOMES: dict[int, Outcome] = {1: "rebuilt", 0: "nothing", -1: "incomplete", -2: "too_many", -3: "behind", -4: "busy"}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`events` of the user are pending again, including those of `dead_letters` dead letters."""

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

        This is one atomic step per user, and the old text is shown until that fold. A repetition before all events
        are folded only restarts the folding.

        Args:
            users: users of one bucket, each with the ids of its entries in the log, oldest first.
            last: the last id of that log that the caller has read. Later entries are found here.
            partial: fold the events that are still in the log, of which the newest `max_pending`.
        """
        results = await self._scripts.run([self._call(user, ids, last, partial) for user, ids in users.items()])
        return [Rebuilt(_OUTCOMES[number], events, letters) for number, events, letters in results]

    def _call(self, user_id: str, ids: Sequence[str], last: str, partial: bool) -> Call:
        keys, bucket = self._keys.user(user_id), self._keys.user_bucket(user_id)
        names = (
            *(bucket.log, bucket.due(SUMMARIZE.name), bucket.dead, bucket.backlog, keys.pending),
            *(keys.lease, keys.summary, keys.dead_letters, keys.tombstone),
        )
        # One more than can be pending, so that the script notices when there are too many.
        newest = ids[-self._max_pending - 1 :]
        return Call("rebuild", names, (self._scripts.now(), user_id, int(partial), last, *newest))
