"""Claiming from many buckets in one round trip, fairly."""

from collections.abc import Sequence
from typing import Any

from service.state.fair import spread
from service.state.scripts import Call, Scripts


class Queue:
    """The due sets of one kind of work; `script` claims from one of them.

    Each answer says how much work its bucket still holds, and the next claim is shared out by that.
    """

    def __init__(self, scripts: Scripts, script: str, keys: Sequence[tuple[str, ...]]) -> None:
        self._scripts = scripts
        self._script = script
        self._keys = keys
        self._waiting = [0] * len(keys)
        self._start = 0

    async def claim(self, limit: int) -> list[list[Any]]:
        """At most `limit` claims. A second round trip is made only when the first found more work than it took."""
        claims = await self._round(limit)
        if len(claims) < limit and any(self._waiting):
            claims += await self._round(limit - len(claims))
        return claims

    async def _round(self, limit: int) -> list[list[Any]]:
        shares = spread(limit, self._waiting, self._start)
        self._start = (self._start + 1) % len(self._keys)
        now = self._scripts.now()
        calls = [Call(self._script, keys, (now, share)) for keys, share in zip(self._keys, shares, strict=True)]
        claims: list[list[Any]] = []
        for bucket, (left, found) in enumerate(await self._scripts.run(calls)):
            self._waiting[bucket] = left
            claims += found
        return claims
