"""Tenants take turns: whatever waits for one of them, the others get their share of the free slots."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Generic

from service.errors import StateUnavailable
from service.logs import get_logger
from service.state.kinds import C
from workers.job import Job

log = get_logger(__name__)


class Turns(Generic[C]):
    """Claims work of one kind for several tenants.

    Free slots are divided equally. What a tenant does not need goes to the others, so a single busy tenant gets all of
    them. Work that is running is never interrupted: a tenant whose work arrives later gets its share of the slots that
    become free, beginning with the next.

    Args:
        jobs: one for each tenant.
        again_s: how long a tenant that had nothing is not asked while others have work.
    """

    def __init__(self, jobs: Sequence[Job[C]], again_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs = list(jobs)
        self._again_s = again_s
        self._clock = clock
        self._empty_at = dict.fromkeys(self._jobs, float("-inf"))

    async def claim(self, limit: int) -> list[tuple[Job[C], C]]:
        """Claim at most `limit` pieces of work, each with its job.

        Raises:
            StateUnavailable: Redis did not answer, and no work is known to be claimed.
        """
        now = self._clock()
        turn = [job for job in self._jobs if now - self._empty_at[job] >= self._again_s]
        claims: list[tuple[Job[C], C]] = []
        while turn and len(claims) < limit:
            asked = list(zip(turn, _shares(limit - len(claims), len(turn)), strict=False))
            found = await self._ask(asked, failing=not claims)
            # Those that may have more come after those that were not asked yet.
            turn = turn[len(asked) :]
            for (job, share), some in zip(asked, found, strict=True):
                claims += [(job, claim) for claim in some]
                if some:
                    # Last in the next turn.
                    self._jobs.remove(job)
                    self._jobs.append(job)
                if len(some) == share:
                    turn.append(job)
                else:
                    self._empty_at[job] = now
        return claims

    async def _ask(self, asked: Sequence[tuple[Job[C], int]], *, failing: bool) -> list[Sequence[C]]:
        """What each job has of its share. Raises StateUnavailable if `failing` and all that is known is a failure."""
        answers = await asyncio.gather(*(job.claim(share) for job, share in asked), return_exceptions=True)
        found: list[Sequence[C]] = []
        failure: StateUnavailable | None = None
        for answer in answers:
            if isinstance(answer, StateUnavailable):
                failure = answer
                found.append([])
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append(answer)
        if failure is not None:
            if failing and not any(found):
                raise failure
            # Otherwise the work that was claimed would wait for the end of its lease.
            log.warning("claim_cut_short", error=failure.detail, claimed=sum(map(len, found)))
        return found


def _shares(slots: int, among: int) -> list[int]:
    """`slots` divided equally, the first ones getting the rest; at most one share for each slot."""
    whole, rest = divmod(slots, among)
    return [whole + (place < rest) for place in range(min(slots, among))]
