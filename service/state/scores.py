"""The score cache: what the ranker said about items for one state of one user (invariant I5)."""

from collections.abc import Mapping

from service.state.connection import Argument
from service.state.keys import Keys
from service.state.scripts import Call, Scripts


class Scores:
    """Scores are kept under a `stamp` that names all they depend on beside the item's revision."""

    def __init__(self, scripts: Scripts, keys: Keys, most: int) -> None:
        self._scripts = scripts
        self._keys = keys
        self._most = most

    async def read(self, user_id: str, stamp: str) -> dict[str, tuple[int, float]]:
        """Revision and score by item id; empty when the kept ones belong to another stamp."""
        (fields,) = await self._scripts.send([("HGETALL", self._keys.user(user_id).scores)])
        if fields.pop(b"", None) != stamp.encode():
            return {}
        scores = {}
        for item, value in fields.items():
            revision, score = value.split(b" ")
            scores[item.decode()] = (int(revision), float(score))
        return scores

    async def write(self, user_id: str, stamp: str, scores: Mapping[str, tuple[int, float]], read_at_ms: int) -> bool:
        """Add `scores`, dropping those of another stamp; at most `score_cache_items` are kept.

        `read_at_ms` is that of the UserState they were made from: nothing is written, and False
        returned, when the user was deleted since.
        """
        kept = list(scores.items())[: self._most]
        if not kept:
            return True
        keys = self._keys.user(user_id)
        arguments: list[Argument] = [read_at_ms, stamp]
        for item, (revision, score) in kept:
            arguments += (item, f"{revision} {score:.6g}")
        (written,) = await self._scripts.run([Call("score_write", (keys.scores, keys.tombstone), arguments)])
        return bool(written)
