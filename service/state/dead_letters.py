"""What could not be worked, and why (invariants I2, I7).

A letter's id is `<bucket>-<stream id>`, for example `b7-1763625600000-0`.
"""

import heapq
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
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
"""Letters of one bucket in memory."""


@dataclass(slots=True)
class _Stretch:
    """The letters of one bucket from `start` to `end`; of those, `page` has been read.

    `key` names the user or item whose letters are meant, None means all.
    """

    bucket: BucketKeys
    key: str | None
    end: str
    start: str = "-"
    page: deque[DeadLetter] = field(default_factory=deque)


class DeadLetters:
    """Args: `kinds` are those whose letters can be retried."""

    def __init__(self, scripts: Scripts, keys: Keys, kinds: Sequence[Kind[Any]]) -> None:
        self._scripts = scripts
        self._keys = keys
        self._kinds = {kind.name: kind for kind in kinds}

    async def read(self, user_id: str | None = None, item_id: str | None = None) -> AsyncGenerator[DeadLetter, None]:
        """The letters that are there now, oldest first; those written meanwhile do not come.

        Few letters of each bucket are in memory at a time.

        Args:
            user_id, item_id: only those of this user, of this item, or of both; None for all.
        """
        stretches = await self._stretches(user_id, item_id)
        await self._fill(stretches)
        oldest = [(stretch.page[0].at_ms, number) for number, stretch in enumerate(stretches) if stretch.page]
        heapq.heapify(oldest)
        while oldest:
            number = oldest[0][1]
            stretch = stretches[number]
            letter = stretch.page.popleft()
            if not stretch.page:
                await self._fill([stretch])
            if stretch.page:
                heapq.heapreplace(oldest, (stretch.page[0].at_ms, number))
            else:
                heapq.heappop(oldest)
            if stretch.key in {None, letter.key}:
                yield letter

    async def list(self, limit: int) -> list[DeadLetter]:
        """The `limit` oldest letters of all buckets."""
        found: list[DeadLetter] = []
        async with aclosing(self.read()) as letters:
            async for letter in letters:
                if len(found) == limit:
                    break
                found.append(letter)
        return found

    async def count(self) -> int:
        buckets = (*self._keys.users, *self._keys.items)
        return sum(await self._scripts.send([("XLEN", bucket.dead) for bucket in buckets]))

    async def retry(self, letter_id: str) -> Retried:
        """Queue the letter's work again; events go after the user's pending ones."""
        if (place := self._place(letter_id)) is None:
            return "not_found"
        bucket, stream_id = place
        (found,) = await self._scripts.run([Call("stream_page", (bucket.dead,), (stream_id, stream_id, 1))])
        kind = self._kinds.get(_letter(bucket, *found[0]).kind) if found else None
        if kind is None:
            return "not_found"
        names = (bucket.due(kind.name), bucket.stem)
        (result,) = await self._scripts.run(
            [Call("leases/retry", names, (self._scripts.now(), stream_id), kind.prelude)]
        )
        return _RETRIED[result]

    async def drop(self, letter_id: str) -> bool:
        """Remove the letter for good; False if there is none of this id."""
        if (place := self._place(letter_id)) is None:
            return False
        bucket, stream_id = place
        (dropped,) = await self._scripts.run([Call("drop_dead_letter", (bucket.dead, bucket.stem), (stream_id,))])
        return bool(dropped)

    async def _stretches(self, user_id: str | None, item_id: str | None) -> Sequence[_Stretch]:
        given: list[tuple[BucketKeys, str | None]] = []
        if user_id is not None:
            given.append((self._keys.users[self._keys.bucket(user_id)], user_id))
        if item_id is not None:
            given.append((self._keys.item_bucket(item_id), item_id))
        if not given:
            given = [(bucket, None) for bucket in (*self._keys.users, *self._keys.items)]
        lasts = await self._scripts.send([("XREVRANGE", bucket.dead, "+", "-", "COUNT", 1) for bucket, _ in given])
        return [
            _Stretch(bucket, key, last[0][0].decode()) for (bucket, key), last in zip(given, lasts, strict=True) if last
        ]

    async def _fill(self, stretches: Sequence[_Stretch]) -> None:
        calls = [Call("stream_page", (one.bucket.dead,), (one.start, one.end, PAGE)) for one in stretches]
        for one, found in zip(stretches, await self._scripts.run(calls), strict=True):
            one.page.extend(_letter(one.bucket, stream_id, fields) for stream_id, fields in found)
            if found:
                one.start = f"({found[-1][0].decode()}"

    def _place(self, letter_id: str) -> tuple[BucketKeys, str] | None:
        name, _, stream_id = letter_id.partition("-")
        first, _, second = stream_id.partition("-")
        bucket = self._keys.named(name)
        if bucket is None or not (first.isdecimal() and second.isdecimal()):
            return None
        return bucket, stream_id


def _letter(bucket: BucketKeys, stream_id: bytes, fields: list[bytes]) -> DeadLetter:
    named = [(fields[at].decode(), fields[at + 1]) for at in range(0, len(fields), 2)]
    single = dict(named)
    key = single["key"].decode()
    return DeadLetter(
        id=f"{bucket.name}-{stream_id.decode()}",
        kind=single["kind"].decode(),
        key=key,
        reason=single["reason"].decode(),
        at_ms=int(single["at"]),
        events=tuple(encoding.pending_event(key, entry) for name, entry in named if name == "e"),
    )
