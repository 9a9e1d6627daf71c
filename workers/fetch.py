"""Fetches the pictures that items name by URL, after the items were stored."""

import heapq
import random
import time
from collections.abc import Sequence

from service.errors import BadPicture, Overloaded, StateUnavailable
from service.pictures.decoder import PictureDecoder
from service.pictures.fetch import PictureFetcher
from service.pictures.ingest import PictureIngest
from service.pictures.resolver import HostUnavailable
from service.pictures.slots import HostBusy
from service.state.leases import DeadLettered
from service.state.records import PictureClaim
from workers.backoff import Pause, Retry
from workers.job import Job, JobUnavailable, NotNow, Outcome, Resources, WorkFailed, committed
from workers.pool import Pool

_RETURN_S = 1.0
_RETURNS_PER_S = 100
"""Claims that return in one second, once many wait for slots of busy hosts."""


def make_pools(tenants: Sequence[Resources]) -> list[Pool[PictureClaim]]:
    worker = tenants[0]
    settings = worker.settings.pictures
    fetcher, decoder = PictureFetcher(settings), PictureDecoder(settings, worker.metrics)
    worker.on_exit.push_async_callback(fetcher.close)
    worker.on_exit.push_async_callback(decoder.close)
    jobs = [FetchJob(tenant, fetcher, decoder) for tenant in tenants]
    return [Pool(jobs, Pause(worker.retry), settings.max_concurrent_fetches, worker.settings)]


class FetchJob(Job[PictureClaim]):
    """Fetches, checks and stores pictures. A slow or busy host occupies only its own slots."""

    def __init__(self, worker: Resources, fetcher: PictureFetcher, decoder: PictureDecoder) -> None:
        settings, metrics = worker.settings.pictures, worker.metrics
        retry = Retry(settings.fetch_attempts, settings.fetch_retry_initial_s, settings.fetch_retry_max_s)
        super().__init__(worker.store.pictures, retry, metrics)
        self._queue = worker.store.pictures
        self._fetcher = fetcher
        self._ingest = PictureIngest(settings, decoder, worker.pictures, metrics)
        self._returns: list[float] = []

    async def work(self, claim: PictureClaim) -> Outcome:
        try:
            stored = await self._ingest.take(await self._fetcher.fetch(claim.url, again=claim.attempts > 0))
        except (HostBusy, Overloaded) as error:
            raise NotNow(self._return_in_s()) from error
        except HostUnavailable as error:
            raise WorkFailed(f"picture_{error.detail.partition(':')[0]}", error.detail) from error
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

    def _return_in_s(self) -> float:
        """When a claim that found no slot returns: the more of them wait, the later."""
        now = time.monotonic()
        while self._returns and self._returns[0] <= now:
            heapq.heappop(self._returns)
        wait_s = max(_RETURN_S, len(self._returns) / _RETURNS_PER_S) * random.uniform(0.5, 1.5)
        heapq.heappush(self._returns, now + wait_s)
        return wait_s
