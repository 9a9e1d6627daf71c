"""The queues of leased work: summaries of users, results derived from items, and pictures to fetch."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import orjson

from service.settings.state import StateSettings
from service.state import encoding, votes
from service.state.keys import Keys
from service.state.kinds import EMBED, SUMMARIZE, Derived
from service.state.leases import DeadLettered, LeasedQueue
from service.state.records import ItemClaim, PictureClaim, Summary, SummaryClaim
from service.state.redis.scripts import Call, Scripts

_WRONG_WIDTH, _TOO_MANY_INDEXES = -1, -2


class Summaries(LeasedQueue[SummaryClaim]):
    """Users with pending events, which are folded into their summaries (invariants I2, I3, I4, I7)."""

    def __init__(self, scripts: Scripts, keys: Keys, settings: StateSettings) -> None:
        super().__init__(scripts, keys, SUMMARIZE)
        self._settings = settings

    async def commit(
        self, claim: SummaryClaim, text: str, model: str, prompt: str, folded: int, liked: Sequence[str] = ()
    ) -> bool:
        """Write `text` as the next version and remove the first `folded` events of the claim.

        `liked` are the items to be counted for the user. Ends the lease. False if the claim was lost: then nothing is
        written.

        Raises:
            ValueError: `folded` is no number of claimed events, or `text` is longer than `summary_chars`.
        """
        if len(text) > self._settings.summary_chars:
            raise ValueError(f"a summary of {len(text)} characters, at most {self._settings.summary_chars} are stored")
        last = _last(claim, folded)
        old = claim.base
        summary = Summary(
            text=text,
            version=claim.summary.version + 1 if claim.summary else 1,
            updated_at_ms=self._scripts.host_now(),
            model=model,
            prompt=prompt,
            events=(old.events if old else 0) + folded,
            event_ids=tuple(event.event_id for event in claim.pending[:folded]),
            earlier=old.history[: self._settings.summary_versions - 1] if old else (),
            votes=votes.counted(claim.votes, liked, self._settings.votes),
        )
        body = encoding.summary_body(summary)
        return bool(await self._run("commit", claim, summary.version - 1, folded, last, body))

    async def dead_letter(self, claim: SummaryClaim, reason: str, count: int) -> DeadLettered:
        """Move the first `count` events of the claim to the dead letters; the summary stays."""
        return await self._dead_letter(claim, reason, count, _last(claim, count))


class Derivations(LeasedQueue[ItemClaim]):
    """Items that lack a result that a model derives from them, such as a description (invariants I4, I7)."""

    def __init__(self, scripts: Scripts, keys: Keys, kind: Derived, max_chars: int) -> None:
        super().__init__(scripts, keys, kind)
        self._max_chars = max_chars

    async def commit(self, claim: ItemClaim, result: str | bytes, model: str) -> bool:
        """Store the result; False if the claim was lost or the item's words or picture changed.

        Raises:
            ValueError: `result` is longer than `summary_chars`.
        """
        if len(result) > self._max_chars:
            raise ValueError(f"a result of {len(result)} characters, at most {self._max_chars} are stored")
        return bool(await self._run("commit", claim, result, model))

    async def dead_letter(self, claim: ItemClaim, reason: str, model: str = "") -> DeadLettered:
        """Give up; the item stays without the result. `model` is noted as tried, see `request`."""
        return await self._dead_letter(claim, reason, *([model] if model else []))

    async def request(self, items: Iterable[str], model: str, lost: Collection[str] = ()) -> int:
        """Queue items for a result of `model`, unless it has been tried for their current content.

        Args:
            lost: items that have the result, which can't be found any more: they are queued in any case.

        Returns:
            How many were queued.
        """
        calls = []
        for item in items:
            bucket = self._buckets[self._keys.bucket(item)]
            given = (self._scripts.now(), item, self.kind.name, model, int(item in lost))
            calls.append(Call("derive_request", (bucket.item_stem + item, bucket.stem), given))
        return sum(await self._scripts.run(calls)) if calls else 0


class WrongWidth(Exception):
    """A vector has not as many numbers as the others of its index: the embedder's version was changed in place."""


class TooManyIndexes(Exception):
    """There is no room for a further index; older ones are dropped in time."""


class EmbeddingQueue(LeasedQueue[ItemClaim]):
    """Items of which an index lacks the vector (invariants I4, I7).

    Vectors are float16 numbers in C order, by index. An index is created with its first vector.
    """

    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        super().__init__(scripts, keys, EMBED)

    async def commit(self, claim: ItemClaim, vectors: Mapping[str, bytes]) -> bool:
        """Write vectors; False if the claim was lost or the item's words or picture changed: then nothing is written.

        Raises:
            WrongWidth, TooManyIndexes: nothing was written.
        """
        return await self._write("commit", claim, vectors)

    async def keep(self, claim: ItemClaim, vectors: Mapping[str, bytes]) -> bool:
        """Write vectors as `commit` does, but keep the lease: other vectors of the item are still to be made."""
        return await self._write("keep", claim, vectors)

    async def dead_letter(self, claim: ItemClaim, reason: str, failed: Collection[str]) -> DeadLettered:
        """Give up: the indexes `failed` don't get the item until its content changes or the dead letter is retried."""
        return await self._dead_letter(claim, reason, " ".join(failed))

    async def _write(self, script: str, claim: ItemClaim, vectors: Mapping[str, bytes]) -> bool:
        words = [word for pair in vectors.items() for word in pair]
        done = await self._run(script, claim, *words)
        if done == _WRONG_WIDTH:
            raise WrongWidth(f"a vector has another width than the index ({', '.join(vectors)})")
        if done == _TOO_MANY_INDEXES:
            raise TooManyIndexes(f"no room for another index ({', '.join(vectors)})")
        return bool(done)


class PictureQueue(LeasedQueue[PictureClaim]):
    """Items whose pictures are to be fetched, from the `put` of a URL to the commit (invariants I4, I7).

    Another `put` that changes the picture ends a claim, and so does a deletion.
    """

    async def commit(self, claim: PictureClaim, picture: str, warning: str | None = None) -> bool:
        """Set the item's picture, a content hash; False if the claim was lost: then nothing is written.

        Args:
            warning: stored as the item's `picture_error`.
        """
        return bool(await self._run("commit", claim, picture, warning or ""))

    async def refuse(self, claim: PictureClaim, error: str) -> bool:
        """Store why there is no new picture; the item keeps its old one."""
        return bool(await self._run("commit", claim, "", error))

    async def dead_letter(self, claim: PictureClaim, reason: str, error: str) -> DeadLettered:
        """Like `refuse`, with a dead letter that can be retried."""
        return await self._dead_letter(claim, reason, error)


def _last(claim: SummaryClaim, count: int) -> bytes:
    """The JSON-encoded id of the last of the first `count` events."""
    if not 1 <= count <= len(claim.pending):
        raise ValueError(f"{count} of {len(claim.pending)} claimed events")
    return orjson.dumps(claim.pending[count - 1].event_id)
