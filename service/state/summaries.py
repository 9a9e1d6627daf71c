"""The queue of users whose events wait to be folded into their summaries (invariants I2, I3, I4, I7)."""

import time
from collections.abc import Sequence

from service.state import encoding, votes
from service.state.keys import Keys
from service.state.kinds import SUMMARIZE
from service.state.leases import DeadLettered, LeasedQueue
from service.state.records import Summary, SummaryClaim
from service.state.redis.scripts import Scripts


class Summaries(LeasedQueue[SummaryClaim]):
    def __init__(self, scripts: Scripts, keys: Keys, summary_chars: int, history: int, votes: int) -> None:
        super().__init__(scripts, keys, SUMMARIZE)
        self._summary_chars = summary_chars
        self._history = history
        self._votes = votes

    async def commit(
        self, claim: SummaryClaim, text: str, model: str, prompt: str, folded: int, liked: Sequence[str] = ()
    ) -> bool:
        """Write `text` as the next version and remove the first `folded` events of the claim.

        `liked` are the items to be counted for the user. Ends the lease.
        False if the claim was lost: nothing is written then.

        Raises:
            ValueError: no event was folded, or `text` is longer than `summary_chars`.
        """
        if len(text) > self._summary_chars:
            raise ValueError(f"a summary of {len(text)} characters, at most {self._summary_chars} are stored")
        last = _last(claim, folded)
        old = claim.base
        summary = Summary(
            text=text,
            version=claim.summary.version + 1 if claim.summary else 1,
            updated_at_ms=self._scripts.now() or time.time_ns() // 1_000_000,
            model=model,
            prompt=prompt,
            events=(old.events if old else 0) + folded,
            event_ids=tuple(event.event_id for event in claim.pending[:folded]),
            earlier=old.history[: self._history - 1] if old else (),
            votes=votes.counted(claim.votes, liked, self._votes),
        )
        body = encoding.summary_body(summary)
        return bool(await self._run("commit", claim, summary.version - 1, folded, last, body))

    async def dead_letter(self, claim: SummaryClaim, reason: str, count: int) -> DeadLettered:
        """Move the first `count` events of the claim to the dead letters; the summary stays."""
        return await self._dead_letter(claim, reason, count, _last(claim, count))


def _last(claim: SummaryClaim, count: int) -> bytes:
    """The JSON-encoded id of the last of the first `count` events."""
    if not 1 <= count <= len(claim.pending):
        raise ValueError(f"{count} of {len(claim.pending)} claimed events")
    return encoding.json_text(claim.pending[count - 1].event_id)
