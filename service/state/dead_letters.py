"""Work that failed on its last attempt, and why (invariants I2, I7).

A dead letter's id is `<bucket>-<stream id>`, for example `b7-1763625600000-0`.
"""

import heapq
import re
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from service.state import encoding
from service.state.keys import BucketKeys, Keys
from service.state.kinds import Kind
from service.state.records import DeadLetter
from service.state.redis.scripts import Call, Scripts

Retried = Literal["retried", "not_found", "backlog_full"]
_RETRIED: dict[int, Retried] = {1: "retried", 0: "not_found", -1: "backlog_full"}
PAGE = 20
"""Dead letters of one bucket in memory."""
_ID = re.compile(r"([^-]+)-([0-9]+-[0-9]+)")


@dataclass(slots=True)
class _Stretch:
    """The dead letters of one bucket after `start`, up to `end`; `page` holds those that were read.

    `key` is the user or item whose dead letters are wanted; None means all.
    """

    bucket: BucketKeys
    key: str | None
    end: str
    start: str = "-"
    page: deque[DeadLetter] = field(default_factory=deque)


class DeadLetters:
    """Args: `kinds` are those whose dead letters can be retried."""

    def __init__(self, scripts: Scripts, keys: Keys, kinds: Sequence[Kind[Any]]) -> None:
        self._scripts = scripts
        self._keys = keys
        self._kinds = {kind.name: kind for kind in kinds}

    async def read(self, user_id: str | None = None, item_id: str | None = None) -> AsyncGenerator[DeadLetter, None]:
        """The current dead letters, oldest first; those written during the reading are not included.

        Only a few of each bucket are in memory at a time.

        Args:
            user_id, item_id: only those of this user, of this item, or of both; None for all.
        """
        stretches = await self._stretches(user_id, item_id)
        await self._fill(stretches)
        oldest = [(stretch.page[0].at_ms, number) for number, stretch in enumerate(stretches) if stretch.page]
        heapq.heapify(oldest)
        while oldest:
            _, number = heapq.heappop(oldest)
            stretch = stretches[number]
            letter = stretch.page.popleft()
            if not stretch.page:
                await self._fill([stretch])
            if stretch.page:
                heapq.heappush(oldest, (stretch.page[0].at_ms, number))
            if stretch.key in {None, letter.key}:
                yield letter

    async def count(self) -> int:
        return sum(await self._scripts.run([("XLEN", bucket.dead) for bucket in self._keys.buckets]))

    async def retry(self, letter_id: str) -> Retried:
        """Queue the work again; events are queued after the user's pending ones."""
        if (place := self._place(letter_id)) is None:
            return "not_found"
        bucket, stream_id = place
        (found,) = await self._scripts.run([Call("stream_page", (bucket.dead,), (stream_id, stream_id, 1))])
        kind = self._kinds.get(_letter(bucket, *found[0]).kind) if found else None
        if kind is None:
            return "not_found"
        names = (bucket.due(kind.name), bucket.stem)
        call = Call("leases/retry", names, (self._scripts.now(), stream_id), kind.prelude)
        (result,) = await self._scripts.run([call])
        return _RETRIED[result]

    async def drop(self, letter_id: str) -> bool:
        """Remove a dead letter permanently; False if there is none with this id."""
        if (place := self._place(letter_id)) is None:
            return False
        bucket, stream_id = place
        (dropped,) = await self._scripts.run([Call("drop_dead_letter", (bucket.dead, bucket.stem), (stream_id,))])
        return bool(dropped)

    async def _stretches(self, user_id: str | None, item_id: str | None) -> Sequence[_Stretch]:
        given: list[tuple[BucketKeys, str | None]] = []
        if user_id is not None:
            given.append((self._keys.user_bucket(user_id), user_id))
        if item_id is not None:
            given.append((self._keys.item_bucket(item_id), item_id))
        given = given or [(bucket, None) for bucket in self._keys.buckets]
        lasts = await self._scripts.run([("XREVRANGE", bucket.dead, "+", "-", "COUNT", 1) for bucket, _ in given])
        found = zip(given, lasts, strict=True)
        return [_Stretch(bucket, key, last[0][0].decode()) for (bucket, key), last in found if last]

    async def _fill(self, stretches: Sequence[_Stretch]) -> None:
        calls = [Call("stream_page", (one.bucket.dead,), (one.start, one.end, PAGE)) for one in stretches]
        for one, found in zip(stretches, await self._scripts.run(calls), strict=True):
            one.page.extend(_letter(one.bucket, stream_id, fields) for stream_id, fields in found)
            if found:
                one.start = f"({found[-1][0].decode()}"

    def _place(self, letter_id: str) -> tuple[BucketKeys, str] | None:
        valid = _ID.fullmatch(letter_id)
        bucket = self._keys.named(valid[1]) if valid else None
        return (bucket, valid[2]) if valid and bucket else None


def _letter(bucket: BucketKeys, stream_id: bytes, fields: list[bytes]) -> DeadLetter:
    values = dict(encoding.pairs(fields))
    key = values[b"key"].decode()
    return DeadLetter(
        id=f"{bucket.name}-{stream_id.decode()}",
        kind=values[b"kind"].decode(),
        key=key,
        reason=values[b"reason"].decode(),
        at_ms=int(values[b"at"]),
        events=tuple(encoding.pending_event(key, entry) for name, entry in encoding.pairs(fields) if name == b"e"),
    )
