"""Results that models make from items, such as descriptions (invariants I4, I7)."""

from service.state.keys import Keys
from service.state.kinds import Derived
from service.state.leases import DeadLettered, LeasedQueue
from service.state.records import ItemClaim
from service.state.redis.scripts import Scripts


class Derivations(LeasedQueue[ItemClaim]):
    """The queue of items that lack the result of one kind."""

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

    async def dead_letter(self, claim: ItemClaim, reason: str) -> DeadLettered:
        """Give the item up: it stays without the result."""
        return await self._dead_letter(claim, reason)
