"""Fetching: the pictures that items name by URL, after their items were stored."""

import heapq
import random
import time

from service.errors import BadPicture, Overloaded, StateUnavailable
from service.metrics import Metrics
from service.pictures.fetch import PictureFetcher
from service.pictures.ingest import PictureIngest
from service.pictures.resolver import HostTrouble
from service.pictures.shares import HostBusy
from service.state.leases import DeadLettered
from service.state.picture_queue import PictureQueue
from service.state.records import PictureClaim
from workers.backoff import Retry
from workers.job import Job, JobUnavailable, NotNow, Outcome, WorkFailed, committed

_COME_BACK_S = 1.0
_BACK_PER_S = 100
"""Claims that come back in a second, once many wait for the slots of busy hosts."""


class FetchJob(Job[PictureClaim]):
    """Fetches, checks and stores pictures. A host that is slow or busy holds its own slots only."""

    def __init__(
        self, queue: PictureQueue, fetcher: PictureFetcher, ingest: PictureIngest, retry: Retry, metrics: Metrics
    ) -> None:
        super().__init__(queue, retry, metrics)
        self._queue = queue
        self._fetcher = fetcher
        self._ingest = ingest
        self._turned_away: list[float] = []

    async def work(self, claim: PictureClaim) -> Outcome:
        try:
            stored = await self._ingest.take(await self._fetcher.fetch(claim.url, again=claim.attempts > 0))
        except (HostBusy, Overloaded) as error:
            raise NotNow(self._back_in_s()) from error
        except HostTrouble as error:
            raise WorkFailed(f"picture_{_code(error.detail)}", error.detail) from error
        except BadPicture as error:
            if not await self._queue.refuse(claim, error.detail):
                return "lost"
            self._ingest.count_refused(error)
            return "refused"
        except StateUnavailable as error:
            raise JobUnavailable(error.detail) from error
        return committed(await self._queue.commit(claim, stored.picture, stored.warning))

    async def dead_letter(self, claim: PictureClaim, failure: WorkFailed) -> DeadLettered:
        error = failure.detail or f"failed: {failure.reason}"
        outcome = await self._queue.dead_letter(claim, failure.reason, error)
        if outcome == "dead_lettered":
            self._ingest.count_refused(BadPicture(error))
        return outcome

    def _back_in_s(self) -> float:
        """When a claim that found no slot comes back: later, the more of them there are."""
        now = time.monotonic()
        while self._turned_away and self._turned_away[0] <= now:
            heapq.heappop(self._turned_away)
        wait_s = max(_COME_BACK_S, len(self._turned_away) / _BACK_PER_S) * random.uniform(0.5, 1.5)
        heapq.heappush(self._turned_away, now + wait_s)
        return wait_s


def _code(detail: str) -> str:
    return detail.partition(":")[0]
