"""The queue of items whose pictures are to be fetched (invariants I4, I7)."""

from service.state.leases import DeadLettered, LeasedQueue
from service.state.records import PictureClaim


class PictureQueue(LeasedQueue[PictureClaim]):
    """An item is in it from the `put` that brings a URL until what came of that is committed.

    Another `put` that says something of the picture takes a claim away, and so does a deletion.
    """

    async def commit(self, claim: PictureClaim, picture: str, warning: str | None = None) -> bool:
        """Make `picture`, a content hash, the item's; False if the claim was lost: nothing is written then.

        Args:
            warning: what is to be said of it, as the item's `picture_error`.
        """
        return bool(await self._run("commit", claim, picture, warning or ""))

    async def refuse(self, claim: PictureClaim, error: str) -> bool:
        """Say why there is no new picture; the item keeps the one that it has."""
        return bool(await self._run("commit", claim, "", error))

    async def dead_letter(self, claim: PictureClaim, reason: str, error: str) -> DeadLettered:
        """Like `refuse`, and a dead letter makes it possible to try again."""
        return await self._dead_letter(claim, reason, error)
