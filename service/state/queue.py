"""Claiming from many buckets in one round trip, fairly."""

import time
from collections.abc import Sequence
from typing import Any

from service.errors import StateUnavailable
from service.logs import get_logger
from service.state.allocate import spread
from service.state.keys import BucketKeys
from service.state.redis.client import Argument
from service.state.redis.scripts import Call, Scripts

log = get_logger(__name__)

LOOK_S = 0.1
"""How long a bucket may go unasked while others are known to hold enough work."""


class Queue:
    """The due sets of one kind of work; `script` claims from some of them, all on one slot.

    Each answer says how much work its bucket still holds. The next claim is shared out by that: one
    that known work can serve asks only buckets that hold some, so that a busy worker's claims stay small.
    """

    def __init__(self, scripts: Scripts, script: str, buckets: Sequence[BucketKeys]) -> None:
        self._scripts = scripts
        self._script = script
        self._buckets = buckets
        self._waiting = [0] * len(buckets)
        self._start = 0
        self._looked = -LOOK_S

    async def claim(self, limit: int) -> list[list[Any]]:
        """At most `limit` claims. A second round trip is made only when the first found more work than it took.

        Raises:
            StateUnavailable: Redis did not answer, and nothing is known to be claimed.
        """
        claims = await self._round(limit)
        if len(claims) < limit and any(self._waiting):
            try:
                claims += await self._round(limit - len(claims))
            except StateUnavailable as error:
                if not claims:
                    raise
                # What was claimed is leased, and would wait for the end of the lease.
                log.warning("claim_cut_short", error=error.detail, claimed=len(claims))
        return claims

    async def _round(self, limit: int) -> list[list[Any]]:
        shares = spread(limit, self._waiting, self._start)
        asked = [bucket for bucket, share in enumerate(shares) if share]
        if sum(self._waiting) < limit or time.monotonic() - self._looked >= LOOK_S:
            asked = list(range(len(shares)))
            self._looked = time.monotonic()
        self._start = (self._start + 1) % len(self._buckets)
        slots = [[bucket] for bucket in asked] if self._scripts.clustered else [asked]
        calls = [self._call(slot, shares) for slot in slots]
        claims: list[list[Any]] = []
        for slot, answers in zip(slots, await self._scripts.run(calls, partly=True), strict=True):
            for bucket, (left, found) in zip(slot, answers or [(0, [])] * len(slot), strict=True):
                self._waiting[bucket] = left
                claims += found
        return claims

    def _call(self, buckets: Sequence[int], shares: Sequence[int]) -> Call:
        arguments: list[Argument] = [self._scripts.now()]
        for bucket in buckets:
            arguments += (self._buckets[bucket].stem, shares[bucket])
        first = self._buckets[buckets[0]]
        return Call(self._script, (first.due, first.stem), arguments)
