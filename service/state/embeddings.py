"""The indexes of item vectors in Redis: what readers of them need to know, and how one takes the place of another.

An index has the vectors that one version of the embedder made, and is named after it. Vectors are float16 numbers in C
order. Every write and removal gets a change number, so that a reader that knows the last one of each bucket reads only
what is newer, and misses nothing. The numbers are microseconds since the epoch or a little later.
"""

import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import orjson

from service.state.keys import BucketKeys, Keys
from service.state.kinds import EMBED
from service.state.reads import Read, alone
from service.state.redis.client import Argument
from service.state.redis.scripts import Call, Scripts

REMEMBERED_S = 86400.0
"""For how long a removal is found among the changes. A reader that is older must begin anew."""
PAGE = 500
_PRUNED_PER_CALL = 1000
_BUCKETS_PER_CALL = 8


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which index is in use.

    Args:
        store: made up when the first index was used: another Redis, or one that was emptied, has another.
        current: the index that is searched.
        previous: the one before, which is kept.
    """

    store: str
    current: str
    previous: str | None = None


class Change(NamedTuple):
    """An item got a vector, or None if it has none any more."""

    item_id: str
    vector: bytes | None


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of changes of one index, each item's last one.

    Args:
        pointer: read at the same time.
        after: for each bucket, the number of the last change that is known now.
        more: whether there may be further changes.
        forgotten: Redis has not had some of the changes that are known, as after a failover that lost its last writes.
    """

    pointer: Pointer | None
    changes: Sequence[Change]
    after: tuple[int, ...]
    more: bool
    forgotten: bool


@dataclass(frozen=True, slots=True)
class IndexCounts:
    """The items of a catalogue, by what one index has of them.

    Args:
        embedded: it has the vector of their current words and picture.
        failed: the embedder gave up.
        pending: neither.
        stale: of the failed and pending ones, those with a vector of earlier words or of another picture.
    """

    embedded: int = 0
    failed: int = 0
    pending: int = 0
    stale: int = 0

    def __add__(self, other: "IndexCounts") -> "IndexCounts":
        return IndexCounts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True, slots=True)
class Scanned:
    """Some items, or all of them: the counts of the wanted and of the current index.

    Args:
        queued: put into the queue of items to embed.
        lost: would no longer be found if the wanted index were used.
    """

    wanted: IndexCounts = IndexCounts()
    current: IndexCounts = IndexCounts()
    queued: int = 0
    lost: int = 0

    def __add__(self, other: "Scanned") -> "Scanned":
        return Scanned(
            self.wanted + other.wanted, self.current + other.current, self.queued + other.queued, self.lost + other.lost
        )


class Embeddings:
    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys

    @property
    def buckets(self) -> int:
        return len(self._keys.items)

    async def pointer(self) -> Pointer | None:
        """Which index is in use; None before there is one."""
        read = Read((("GET", self._keys.embedding_index),), lambda results: read_pointer(results[0]))
        return await alone(self._scripts, read)

    async def use(self, index: str, instead_of: Pointer | None) -> Pointer | None:
        """Let all readers change over to `index`, in one step.

        Args:
            instead_of: the pointer as it was read.

        Returns:
            The new pointer, or None if somebody else has changed it meanwhile.
        """
        if instead_of is None:
            pointer = Pointer(secrets.token_hex(8), index)
        else:
            pointer = Pointer(instead_of.store, index, instead_of.current)
        words = (_text(instead_of) if instead_of else b"", _text(pointer))
        (swapped,) = await self._scripts.run([Call("embedding_swap", (self._keys.embedding_index,), words)])
        return pointer if swapped else None

    async def changes(self, index: str, after: Sequence[int], limit: int) -> Changes:
        """The first changes of `index` since those that are known, and the pointer, in one round trip.

        Args:
            after: for each bucket, the number of the last known change, 0 for none.
            limit: the most changes of one call; on a cluster, each bucket may have its share of it and one more.
        """
        buckets = list(range(self.buckets))
        groups = [[bucket] for bucket in buckets] if self._scripts.clustered else [buckets]
        calls = [self._changes_call(group, index, after, limit // len(groups) + 1) for group in groups]
        pointer, *answers = await self._scripts.run([("GET", self._keys.embedding_index), *calls])
        found: list[Change] = []
        known = list(after)
        forgotten = False
        for group, (_, rows, last) in zip(groups, answers, strict=True):
            forgotten |= any(int(number) < after[bucket] for bucket, number in zip(group, last, strict=True))
            for bucket, flat in zip(group, rows, strict=True):
                found += [Change(item.decode(), vector) for item, vector in zip(flat[::3], flat[2::3], strict=True)]
                known[bucket] = int(flat[-2]) if flat else known[bucket]
        return Changes(read_pointer(pointer), found, tuple(known), any(more for more, *_ in answers), forgotten)

    async def scan(
        self, wanted: str, current: str | None, *, fill: Sequence[str] = (), page: int = PAGE
    ) -> AsyncIterator[Scanned]:
        """Count all items, page by page, and queue those of which an index in `fill` has no vector.

        An item for which the embedder has given up is not queued again until its content changes. Items put or deleted
        meanwhile may be missed.
        """
        other = current if current is not None and current != wanted else ""
        given = (wanted, int(wanted in fill), other, int(other in fill))
        positions: dict[int, bytes] = dict.fromkeys(range(self.buckets), b"")
        while positions:
            group = list(positions)[:_BUCKETS_PER_CALL]
            calls = [self._page_call(self._keys.items[bucket], positions[bucket], page, given) for bucket in group]
            results = await self._scripts.run(calls)
            for bucket, (last, *_) in zip(group, results, strict=True):
                if last:
                    positions[bucket] = last
                else:
                    del positions[bucket]
            yield sum((_scanned(result, same=not other) for result in results), Scanned())

    async def size(self, index: str) -> int:
        """The number of vectors in an index."""
        return sum(await self._scripts.run([("HLEN", bucket.vectors(index)) for bucket in self._keys.items]))

    async def indexes(self) -> Mapping[str, int]:
        """The indexes that exist, with the number of dimensions of each."""
        found = await self._scripts.run([("HGETALL", bucket.embedding_widths) for bucket in self._keys.items])
        return {index.decode(): int(width) // 2 for widths in found for index, width in widths.items()}

    async def drop(self, index: str) -> None:
        """Remove an index. Bucket by bucket, so that Redis is never busy with it for long."""
        for bucket in self._keys.items:
            await self._scripts.run([Call("embedding_drop", (bucket.embedding_widths, bucket.stem), (index,))])

    async def prune(self, index: str, remembered_s: float = REMEMBERED_S) -> int:
        """Forget the removals that are older than `remembered_s`. Returns how many were forgotten."""
        before, pruned = round((time.time() - remembered_s) * 1e6), 0
        for bucket in self._keys.items:
            names = (bucket.vector_removals(index), bucket.vector_changes(index))
            done = _PRUNED_PER_CALL
            while done == _PRUNED_PER_CALL:
                (done,) = await self._scripts.run([Call("embedding_prune", names, (before, _PRUNED_PER_CALL))])
                pruned += done
        return pruned

    async def note(self, scanned: Scanned, *, same: bool) -> None:
        """Store the counts of a whole scan for `counts`; `same`: the wanted index is the current one."""
        roles = {"current": scanned.wanted} if same else {"current": scanned.current, "next": scanned.wanted}
        text = orjson.dumps({role: asdict(counts) for role, counts in roles.items()})
        await self._scripts.run([("SET", self._keys.embedding_counts, text)])

    async def counts(self) -> Mapping[str, IndexCounts]:
        """The counts of the last scan: of the `current` index, and of the `next` while it is filled."""
        (text,) = await self._scripts.run([("GET", self._keys.embedding_counts)])
        return {role: IndexCounts(**counts) for role, counts in orjson.loads(text or b"{}").items()}

    def _changes_call(self, buckets: Sequence[int], index: str, after: Sequence[int], limit: int) -> Call:
        words: list[Argument] = [limit, index]
        for bucket in buckets:
            words += (self._keys.items[bucket].stem, after[bucket])
        first = self._keys.items[buckets[0]]
        return Call("embedding_changes", (first.vectors(index), first.stem), words)

    def _page_call(self, bucket: BucketKeys, after: bytes, page: int, given: tuple[Argument, ...]) -> Call:
        words = (self._scripts.now(), EMBED.name, after, page, *given)
        return Call("embedding_page", (bucket.index, bucket.stem), words)


def _scanned(result: list[Any], *, same: bool) -> Scanned:
    _, queued, lost, *numbers = result
    wanted = IndexCounts(*numbers[:4])
    return Scanned(wanted, wanted if same else IndexCounts(*numbers[4:]), queued, lost)


def read_pointer(text: bytes | None) -> Pointer | None:
    """The pointer as Redis has it."""
    return Pointer(*orjson.loads(text)) if text else None


def _text(pointer: Pointer) -> bytes:
    return orjson.dumps([pointer.store, pointer.current, pointer.previous])
