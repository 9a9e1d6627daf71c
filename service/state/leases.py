"""Leased work: claimed with a fencing token, then committed, given back or dead-lettered (invariants I2, I4, I7).

One class for every kind of work; the differences are declared in `service.state.kinds`.
"""

import time
from collections.abc import Sequence
from typing import Generic, Literal

from service.errors import StateUnavailable
from service.logs import get_logger
from service.state.allocate import allocate
from service.state.keys import Keys
from service.state.kinds import C, Kind
from service.state.redis.client import Argument
from service.state.redis.scripts import Call, Scripts

log = get_logger(__name__)

ASK_ALL_S = 0.1
"""How long a bucket may be skipped while others are known to have enough work."""
DeadLettered = Literal["dead_lettered", "lost", "full"]
"""`lost`: another worker has the lease. `full`: there is no room for another dead letter; the claim is unchanged."""
_DEAD_LETTERED: dict[int, DeadLettered] = {1: "dead_lettered", 0: "lost", -1: "full"}


class LeasedQueue(Generic[C]):
    """The work of one kind, in the due sets of all buckets.

    Each claim also returns how much due work is left in its buckets. The next claim is allocated accordingly: if the
    known work is enough for it, it asks only the buckets that have some, so that a busy worker's claims stay small.
    """

    def __init__(self, scripts: Scripts, keys: Keys, kind: Kind[C]) -> None:
        self._scripts = scripts
        self._keys = keys
        self.kind = kind
        self._buckets = keys.users if kind.owner == "user" else keys.items
        self._waiting = [0] * len(self._buckets)
        self._start = 0
        self._asked_all_at = float("-inf")

    async def claim(self, limit: int) -> list[C]:
        """Lease at most `limit` pieces of work to the caller, for `lease_s`.

        Needs a second round trip only if the first one found more work than it took.

        Raises:
            StateUnavailable: Redis did not answer, and no work is known to be claimed.
        """
        claims = await self._claim(limit)
        if len(claims) < limit and any(self._waiting):
            try:
                claims += await self._claim(limit - len(claims))
            except StateUnavailable as error:
                if not claims:
                    raise
                # Otherwise the work that was claimed would wait for the end of its lease.
                log.warning("claim_cut_short", error=error.detail, claimed=len(claims))
        return claims

    async def extend(self, claims: Sequence[C]) -> list[bool]:
        """Renew the leases of `claims` in one round trip; False for each that is lost."""
        return [bool(result) for result in await self._scripts.run([self._call("extend", claim) for claim in claims])]

    async def fail(self, claim: C, retry_in_s: float) -> bool:
        """Count a failed attempt; the work is due again in `retry_in_s`, even if more arrives in the meantime."""
        return bool(await self._run("give_back", claim, round(retry_in_s * 1000), 1))

    async def release(self, claim: C, retry_in_s: float = 0.0) -> bool:
        """Give the claim back without counting an attempt."""
        return bool(await self._run("give_back", claim, round(retry_in_s * 1000), 0))

    async def count(self) -> int:
        """The amount of work, due or not, claimed or not."""
        return sum(await self._scripts.run([("ZCARD", due) for due in self._dues()]))

    async def due(self) -> tuple[int, int]:
        """The amount of work that may be claimed now, and for how many milliseconds the oldest of it has been due."""
        now = self._scripts.now()
        found = await self._scripts.run([Call("due", (due,), (now,)) for due in self._dues()])
        ages = (asked_at - int(float(oldest)) for _, oldest, asked_at in found if oldest)
        return sum(count for count, _, _ in found), max(ages, default=0)

    def _dues(self) -> list[str]:
        return [bucket.due(self.kind.name) for bucket in self._buckets]

    async def _dead_letter(self, claim: C, reason: str, *arguments: Argument) -> DeadLettered:
        return _DEAD_LETTERED[await self._run("dead_letter", claim, reason, *arguments)]

    async def _run(self, script: str, claim: C, *arguments: Argument) -> int:
        (result,) = await self._scripts.run([self._call(script, claim, *arguments)])
        return int(result)

    def _call(self, script: str, claim: C, *arguments: Argument) -> Call:
        bucket = self._buckets[self._keys.bucket(claim.key)]
        given = (self._scripts.now(), claim.key, claim.token, *arguments)
        return Call(f"leases/{script}", (bucket.due(self.kind.name), bucket.stem), given, self.kind.prelude)

    async def _claim(self, limit: int) -> list[C]:
        shares = allocate(limit, self._waiting, self._start)
        asked = [bucket for bucket, share in enumerate(shares) if share]
        if sum(self._waiting) < limit or time.monotonic() - self._asked_all_at >= ASK_ALL_S:
            asked = list(range(len(shares)))
            self._asked_all_at = time.monotonic()
        self._start = (self._start + 1) % len(self._buckets)
        slots = [[bucket] for bucket in asked] if self._scripts.clustered else [asked]
        calls = [self._claim_call(slot, shares) for slot in slots]
        claims: list[C] = []
        for slot, answers in zip(slots, await self._scripts.run(calls, partly=True), strict=True):
            for bucket, (left, found) in zip(slot, answers or [(0, [])] * len(slot), strict=True):
                self._waiting[bucket] = left
                claims += [
                    self.kind.claim(key.decode(), int(token), attempts, *values)
                    for key, token, attempts, *values in found
                ]
        return claims

    def _claim_call(self, buckets: Sequence[int], shares: Sequence[int]) -> Call:
        arguments: list[Argument] = [self._scripts.now()]
        for bucket in buckets:
            arguments += (self._buckets[bucket].stem, shares[bucket])
        first = self._buckets[buckets[0]]
        return Call("leases/claim", (first.due(self.kind.name), first.stem), arguments, self.kind.prelude)
