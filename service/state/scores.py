"""The score cache: what the ranker said about items for one state of one user (invariant I5).

One string a user: the cache key, then for each score 8 bytes of a digest of item and revision and 4 bytes of the
score, so that long ids take no more than short ones.
"""

import struct
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b

from service.state.keys import Keys
from service.state.reads import Read, alone
from service.state.redis.scripts import SCORE_BYTES, Call, Scripts

Kept = Callable[[str, Mapping[str, int]], dict[str, float]]
"""Gives the scores kept for a cache key and revisions by item id."""
_SCORE = struct.Struct(f">{SCORE_BYTES - 4}sf")


class Scores:
    """Scores are kept under a cache key that names everything they depend on except the item's revision."""

    def __init__(self, scripts: Scripts, keys: Keys, most: int) -> None:
        self._scripts = scripts
        self._keys = keys
        self._most = most

    async def read(self, user_id: str, cache_key: str, revisions: Mapping[str, int]) -> dict[str, float]:
        """Scores by item id of those items whose score is kept for this very cache key and revision.

        They are as exact as 32-bit floats are.
        """
        return (await alone(self._scripts, self.reading(user_id)))(cache_key, revisions)

    def reading(self, user_id: str) -> Read[Kept]:
        """`read`, as part of a wave: the cache key and the revisions may be known later."""
        return Read((("GET", self._keys.user(user_id).scores),), lambda results: partial(_scores, results[0] or b""))

    async def write(
        self, user_id: str, cache_key: str, scores: Mapping[str, tuple[int, float]], read_at_ms: int
    ) -> bool:
        """Add `scores`, (revision, score) by item id, dropping those of another cache key.

        At most `score_cache_items` are kept. `read_at_ms` is that of the UserState they were made from: nothing is
        written, and False returned, when the user was deleted since, or has neither events nor a summary.
        """
        kept = list(scores.items())[: self._most]
        if not kept:
            return True
        packed = b"".join(_SCORE.pack(_digest(item, revision), score) for item, (revision, score) in kept)
        keys = self._keys.user(user_id)
        names = (keys.scores, keys.tombstone, keys.summary, keys.pending, keys.recents)
        (written,) = await self._scripts.run([Call("score_write", names, (read_at_ms, _begins(cache_key), packed))])
        return bool(written)


def _scores(kept: bytes, cache_key: str, revisions: Mapping[str, int]) -> dict[str, float]:
    begins = _begins(cache_key)
    if not kept.startswith(begins):
        return {}
    scores: dict[bytes, float] = dict(_SCORE.iter_unpack(kept[len(begins) :]))
    found = {item: scores.get(_digest(item, revision)) for item, revision in revisions.items()}
    return {item: score for item, score in found.items() if score is not None}


def _begins(cache_key: str) -> bytes:
    """What the string begins with; its length keeps one cache key from being taken for the start of another."""
    return f"{len(cache_key)}:{cache_key}".encode()


def _digest(item_id: str, revision: int) -> bytes:
    return blake2b(f"{revision} {item_id}".encode(), digest_size=SCORE_BYTES - 4).digest()
