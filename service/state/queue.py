"""Claiming from many buckets in one round trip, fairly."""

import time
from collections.abc import Sequence
from typing import Any

from service.state.fair import spread
from service.state.scripts import Call, Scripts

LOOK_S = 0.1
"""How long a bucket may go unasked while others are known to hold enough work."""


class Queue:
    """The due sets of one kind of work; `script` claims from one of them.

    Each answer says how much work its bucket still holds. The next claim is shared out by that: one
    that known work can serve asks only buckets that hold some, so that a busy worker's claims stay small.
    """

    def __init__(self, scripts: Scripts, script: str, keys: Sequence[tuple[str, ...]]) -> None:
        self._scripts = scripts
        self._script = script
        self._keys = keys
        self._waiting = [0] * len(keys)
        self._start = 0
        self._looked = -LOOK_S

    async def claim(self, limit: int) -> list[list[Any]]:
        """At most `limit` claims. A second round trip is made only when the first found more work than it took."""
        claims = await self._round(limit)
        if len(claims) < limit and any(self._waiting):
            claims += await self._round(limit - len(claims))
        return claims

    async def _round(self, limit: int) -> list[list[Any]]:
        shares = spread(limit, self._waiting, self._start)
        asked = [bucket for bucket, share in enumerate(shares) if share]
        if sum(self._waiting) < limit or time.monotonic() - self._looked >= LOOK_S:
            asked = list(range(len(shares)))
            self._looked = time.monotonic()
        self._start = (self._start + 1) % len(self._keys)
        now = self._scripts.now()
        calls = [Call(self._script, self._keys[bucket], (now, shares[bucket])) for bucket in asked]
        claims: list[list[Any]] = []
        for bucket, answer in zip(asked, await self._scripts.run(calls, partly=True), strict=True):
            self._waiting[bucket], found = answer or (0, [])
            claims += found
        return claims
