"""The queue of items whose pictures are to be fetched (invariants I4, I7)."""

from collections.abc import Sequence

from service.state.keys import Keys
from service.state.queue import Queue
from service.state.records import PictureClaim
from service.state.redis.scripts import Call, Scripts


class PictureQueue:
    """An item is in it from the `put` that brings a URL until what came of that is committed.

    Another `put` that says something of the picture takes a claim away, and so does a deletion.
    """

    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._keys = keys
        self._queue = Queue(scripts, "picture_claim", keys.items)

    async def claim(self, limit: int) -> list[PictureClaim]:
        """Lease at most `limit` items to the caller, for `lease_s`."""
        return [
            PictureClaim(item_id.decode(), url.decode(), int(token), attempts)
            for item_id, token, attempts, url in await self._queue.claim(limit)
        ]

    async def extend(self, claims: Sequence[PictureClaim]) -> list[bool]:
        """Renew the leases of `claims` in one round trip; False for each that is lost."""
        calls = []
        for claim in claims:
            bucket = self._keys.item_bucket(claim.item_id)
            names = (bucket.fetch, bucket.item_stem + claim.item_id)
            calls.append(Call("extend", names, (self._scripts.now(), claim.item_id, claim.token)))
        return [bool(result) for result in await self._scripts.run(calls)]

    async def commit(self, claim: PictureClaim, picture: str, warning: str | None = None) -> bool:
        """Make `picture`, a content hash, the item's; False if the claim was lost: nothing is written then.

        Args:
            warning: what is to be said of it, as the item's `picture_error`.
        """
        return await self._end(claim, picture=picture, error=warning or "")

    async def refuse(self, claim: PictureClaim, error: str) -> bool:
        """Say why there is no new picture; the item keeps the one that it has."""
        return await self._end(claim, error=error)

    async def bury(self, claim: PictureClaim, error: str, reason: str) -> bool:
        """Like `refuse`, and a dead letter makes it possible to try again."""
        return await self._end(claim, error=error, reason=reason)

    async def fail(self, claim: PictureClaim, retry_in_s: float) -> bool:
        """Count a failed attempt; the item is due again in `retry_in_s`."""
        return await self._give_back(claim, retry_in_s, failed=True)

    async def release(self, claim: PictureClaim, retry_in_s: float = 0.0) -> bool:
        """Give the claim back without counting an attempt."""
        return await self._give_back(claim, retry_in_s, failed=False)

    async def count(self) -> int:
        """How many items wait for their picture or get it now."""
        return sum(await self._scripts.send([("ZCARD", bucket.fetch) for bucket in self._keys.items]))

    async def _end(self, claim: PictureClaim, *, picture: str = "", error: str = "", reason: str = "") -> bool:
        bucket, item_id = self._keys.item_bucket(claim.item_id), claim.item_id
        names = (bucket.item_stem + item_id, bucket.fetch, bucket.due, bucket.dead)
        arguments = (self._scripts.now(), item_id, claim.token, picture, error, reason)
        (result,) = await self._scripts.run([Call("picture_commit", names, arguments)])
        return bool(result)

    async def _give_back(self, claim: PictureClaim, retry_in_s: float, *, failed: bool) -> bool:
        bucket, item_id = self._keys.item_bucket(claim.item_id), claim.item_id
        arguments = (self._scripts.now(), item_id, claim.token, round(retry_in_s * 1000), int(failed))
        (result,) = await self._scripts.run([Call("give_back", (bucket.fetch, bucket.item_stem + item_id), arguments)])
        return bool(result)
