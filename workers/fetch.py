"""Fetching: the pictures that items name by URL, after their items were kept."""

import heapq
import random
import time
from collections.abc import Sequence

from service.errors import BadPicture, Overloaded, StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.pictures.fetch import PictureFetcher
from service.pictures.ingest import PictureIngest
from service.pictures.resolver import HostTrouble
from service.pictures.shares import HostBusy
from service.settings import PictureSettings
from service.state.picture_queue import PictureQueue
from service.state.records import PictureClaim
from workers.backoff import Pause, delay_s
from workers.model_calls import Refused

log = get_logger(__name__)
_COME_BACK_S = 1.0
_BACK_PER_S = 100
"""Claims that come back in a second, once many wait for the slots of busy hosts."""


class Fetching:
    """The job of fetching pictures. A host that is slow or busy holds its own slots only."""

    name = "fetch"

    def __init__(
        self,
        queue: PictureQueue,
        fetcher: PictureFetcher,
        ingest: PictureIngest,
        settings: PictureSettings,
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._fetcher = fetcher
        self._ingest = ingest
        self._settings = settings
        self._metrics = metrics
        self._not_kept = Pause(settings.fetch_retry_initial_s, settings.fetch_retry_max_s)
        self._turned_away: list[float] = []

    async def claim(self, limit: int) -> Sequence[PictureClaim]:
        if self._not_kept.left_s() > 0:
            return []
        return await self._queue.claim(limit)

    async def extend(self, claims: Sequence[PictureClaim]) -> list[bool]:
        return await self._queue.extend(claims)

    async def release(self, claim: PictureClaim, retry_in_s: float) -> None:
        if await self._queue.release(claim, retry_in_s):
            self._metrics.picture_fetches.labels("released").inc()

    def key(self, claim: PictureClaim) -> str:
        return claim.key

    async def suspected(self, claim: PictureClaim, refused: Refused, retry_in_s: float) -> None:
        await self._failed(claim, BadPicture(f"failed: {refused.reason}"))

    async def crashed(self, claim: PictureClaim) -> None:
        await self._failed(claim, BadPicture("failed: an internal error"))

    async def work(self, claim: PictureClaim) -> bool:
        """Fetch, check, store and commit; what may pass by itself is tried again, then dead-lettered."""
        try:
            stored = await self._ingest.take(await self._fetched(claim))
        except HostBusy:
            await self.release(claim, self._back_in_s())
        except HostTrouble as error:
            await self._failed(claim, error)
        except BadPicture as error:
            await self._refused(claim, error)
        except Overloaded:
            await self.release(claim, self._back_in_s())
        except StateUnavailable as error:
            wait_s = self._not_kept.trip()
            log.warning("picture_not_kept", error=error.detail[:200], wait_s=round(wait_s, 2))
            await self.release(claim, wait_s)
        else:
            self._not_kept.clear()
            committed = await self._queue.commit(claim, stored.picture, stored.warning)
            self._metrics.picture_fetches.labels("fetched" if committed else "lost").inc()
        return True

    async def _fetched(self, claim: PictureClaim) -> bytes:
        started = time.perf_counter()
        try:
            encoded = await self._fetcher.fetch(claim.url, again=claim.attempts > 0)
        except HostBusy:
            raise
        except BadPicture:
            self._metrics.picture_fetch_seconds.observe(time.perf_counter() - started)
            raise
        self._metrics.picture_fetch_seconds.observe(time.perf_counter() - started)
        return encoded

    def _back_in_s(self) -> float:
        """When a claim that found no slot comes back: later, the more of them there are."""
        now = time.monotonic()
        while self._turned_away and self._turned_away[0] <= now:
            heapq.heappop(self._turned_away)
        wait_s = max(_COME_BACK_S, len(self._turned_away) / _BACK_PER_S) * random.uniform(0.5, 1.5)
        heapq.heappush(self._turned_away, now + wait_s)
        return wait_s

    async def _refused(self, claim: PictureClaim, error: BadPicture) -> None:
        if await self._queue.refuse(claim, error.detail):
            self._ingest.count_refused(error)
            self._metrics.picture_fetches.labels("refused").inc()

    async def _failed(self, claim: PictureClaim, error: BadPicture) -> None:
        attempt, settings = claim.attempts + 1, self._settings
        reason = error.detail.partition(":")[0]
        if attempt >= settings.fetch_attempts:
            if await self._queue.dead_letter(claim, f"picture_{reason}", error.detail) == "dead_lettered":
                self._ingest.count_refused(error)
                self._metrics.picture_fetches.labels("buried").inc()
                log.warning("picture_given_up", reason=reason, attempts=attempt)
            return
        wait_s = delay_s(claim.attempts, settings.fetch_retry_initial_s, settings.fetch_retry_max_s, random.random())
        if await self._queue.fail(claim, wait_s):
            self._metrics.picture_fetches.labels("retried").inc()
