"""The copies of indexes that a vector database holds, one collection each: what is known of them, in Redis.

A worker that writes to a collection announces it here first, and records afterwards what it wrote. All of these writes
are refused if the record is no longer what the worker read. Whoever finds the announcement of another worker knows that
a late write of that worker may still replace a newer vector, and doesn't trust the collection any more.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import orjson

from service.state.embeddings import Pointer, read_pointer
from service.state.keys import Keys
from service.state.redis.scripts import Call, Scripts


@dataclass(frozen=True, slots=True)
class Mirror:
    """
    Args:
        collection: its name in the vector database.
        index: whose vectors it has.
        store: that of the pointer when it was begun, see `Pointer`.
        dimensions: the length of a vector.
        after: for each bucket, the number of the last change that it has.
        checked_at: when it had all changes last, in seconds since the epoch; until it is complete, when it was begun.
        vectors: how many vectors the index had then.
        complete: it had all changes once.
        spoiled: it may lack changes; another is to take its place.
        writer: who writes to it and has not recorded the end; "" for nobody.
        retired_at: since when it is no longer used, in seconds since the epoch.
    """

    collection: str
    index: str
    store: str
    dimensions: int
    after: tuple[int, ...]
    checked_at: float
    vectors: int = 0
    complete: bool = False
    spoiled: bool = False
    writer: str = ""
    retired_at: float | None = None


class Mirrors:
    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys

    async def read(self) -> tuple[Pointer | None, Sequence[Mirror]]:
        """Which index is in use, and all copies, in one round trip."""
        pointer, found = await self._scripts.run(
            [("GET", self._keys.embedding_index), ("HVALS", self._keys.embedding_mirrors)]
        )
        return read_pointer(pointer), [_mirror(text) for text in found]

    async def write(self, mirror: Mirror, instead_of: Mirror | None) -> bool:
        """Record what a copy is like now. False if somebody else has changed the record meanwhile.

        Args:
            instead_of: the record as it was read or written; None for a new copy.
        """
        return await self._replace(mirror.collection, _text(instead_of) if instead_of else b"", _text(mirror))

    async def forget(self, mirror: Mirror) -> bool:
        """Remove the record of a collection that was deleted. False if somebody else has changed it meanwhile."""
        return await self._replace(mirror.collection, _text(mirror), b"")

    async def spoil(self, index: str) -> None:
        """Have no copy of an index that was dropped brought up to date, if there is an index of this name again."""
        while stale := [one for one in (await self.read())[1] if one.index == index and not one.spoiled]:
            for mirror in stale:
                await self.write(replace(mirror, spoiled=True), mirror)

    async def _replace(self, collection: str, was: bytes, becomes: bytes) -> bool:
        call = Call("embedding_mirror", (self._keys.embedding_mirrors,), (collection, was, becomes))
        (replaced,) = await self._scripts.run([call])
        return bool(replaced)


def mirror_in_use(pointer: Pointer, mirrors: Sequence[Mirror]) -> Mirror | None:
    """The copy of the index in use that is to be searched; None while none is complete."""
    found = [one for one in mirrors if (one.index, one.store) == (pointer.current, pointer.store) and one.complete]
    return min((one for one in found if one.retired_at is None), key=lambda one: one.spoiled, default=None)


def _mirror(text: bytes) -> Mirror:
    fields = orjson.loads(text)
    return Mirror(**{**fields, "after": tuple(fields["after"])})


def _text(mirror: Mirror) -> bytes:
    return orjson.dumps(asdict(mirror))
