"""What could not be worked, and why (invariants I2, I7).

A letter's id is `<bucket>-<stream id>`, for example `b7-1763625600000-0`.
"""

from typing import Literal

from service.state import encoding
from service.state.keys import BucketKeys, Keys
from service.state.records import DeadLetter
from service.state.scripts import Call, Scripts

Retried = Literal["retried", "not_found", "backlog_full"]
_RETRIED: dict[int, Retried] = {1: "retried", 0: "not_found", -1: "backlog_full"}
Kind = Literal["fold", "describe"]


class DeadLetters:
    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys

    async def list(self, limit: int) -> list[DeadLetter]:
        """The `limit` oldest letters of all buckets."""
        buckets = (*self._keys.users, *self._keys.items)
        streams = await self._scripts.run([Call("letters", (bucket.dead,), (limit,)) for bucket in buckets])
        letters = [
            _letter("fold" if bucket in self._keys.users else "describe", bucket.name, stream_id, fields)
            for bucket, stream in zip(buckets, streams, strict=True)
            for stream_id, fields in stream
        ]
        return sorted(letters, key=lambda letter: letter.at_ms)[:limit]

    async def count(self) -> int:
        buckets = (*self._keys.users, *self._keys.items)
        return sum(await self._scripts.send([("XLEN", bucket.dead) for bucket in buckets]))

    async def retry(self, letter_id: str) -> Retried:
        """Queue the letter's events behind the user's pending ones, or its item to be described."""
        if (place := self._place(letter_id)) is None:
            return "not_found"
        kind, bucket, stream_id = place
        if kind == "fold":
            names = (
                *(bucket.dead, bucket.due, bucket.backlog),
                *(bucket.pending_stem, bucket.work_stem, bucket.letters_stem),
            )
            call = Call("retry", names, (self._scripts.now(), stream_id))
        else:
            call = Call("item_retry", (bucket.dead, bucket.due, bucket.item_stem), (self._scripts.now(), stream_id))
        (result,) = await self._scripts.run([call])
        return _RETRIED[result]

    async def drop(self, letter_id: str) -> bool:
        """Remove the letter for good; False if there is none of this id."""
        if (place := self._place(letter_id)) is None:
            return False
        _, bucket, stream_id = place
        (dropped,) = await self._scripts.run([Call("drop", (bucket.dead, bucket.letters_stem), (stream_id,))])
        return bool(dropped)

    def _place(self, letter_id: str) -> tuple[Kind, BucketKeys, str] | None:
        name, _, stream_id = letter_id.partition("-")
        first, _, second = stream_id.partition("-")
        found = self._keys.named(name)
        if found is None or not (first.isdecimal() and second.isdecimal()):
            return None
        return (*found, stream_id)


def _letter(kind: Kind, bucket: str, stream_id: bytes, fields: list[bytes]) -> DeadLetter:
    named = [(fields[at].decode(), fields[at + 1]) for at in range(0, len(fields), 2)]
    single = dict(named)
    key = single["key"].decode()
    return DeadLetter(
        id=f"{bucket}-{stream_id.decode()}",
        kind=kind,
        key=key,
        reason=single["reason"].decode(),
        at_ms=int(single["at"]),
        events=tuple(encoding.pending_event(key, entry) for name, entry in named if name == "e"),
    )
