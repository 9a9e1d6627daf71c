"""The score cache: the ranker's scores for one state of one user (invariant I5).

Each user has one string: the cache key, then for each score 8 bytes of a digest of item and revision, since ids may be
long, and 4 bytes of the score.
"""

import struct
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from itertools import islice

from service.state.keys import Keys
from service.state.reads import Read
from service.state.redis.scripts import SCORE_BYTES, Call, Scripts

Kept = Callable[[str, Mapping[str, int]], dict[str, float]]
"""Returns the stored scores for a cache key and revisions by item id, with the precision of 32-bit floats."""
_SCORE = struct.Struct(f">{SCORE_BYTES - 4}sf")


class Scores:
    """Scores are stored under a cache key that covers everything they depend on except the item's revision."""

    def __init__(self, scripts: Scripts, keys: Keys, most: int) -> None:
        self._scripts = scripts
        self._keys = keys
        self._most = most

    def reading(self, user_id: str) -> Read[Kept]:
        """The user's cached scores; the cache key and the revisions need not be known yet."""
        return Read((("GET", self._keys.user(user_id).scores),), lambda results: partial(_scores, results[0] or b""))

    async def write(
        self, user_id: str, cache_key: str, scores: Mapping[str, tuple[int, float]], read_at_ms: int
    ) -> bool:
        """Add `scores`, (revision, score) by item id, and drop those of another cache key.

        At most `score_cache_items` are stored. `read_at_ms` is that of the UserState from which they were computed:
        if the user was deleted since, or has neither events nor a summary, nothing is written and False returned.
        """
        if not scores:
            return True
        kept = islice(scores.items(), self._most)
        packed = b"".join(_SCORE.pack(_digest(item, revision), score) for item, (revision, score) in kept)
        keys = self._keys.user(user_id)
        names = (keys.scores, keys.tombstone, keys.summary, keys.pending, keys.recents)
        (written,) = await self._scripts.run([Call("score_write", names, (read_at_ms, _prefix(cache_key), packed))])
        return bool(written)


def _scores(kept: bytes, cache_key: str, revisions: Mapping[str, int]) -> dict[str, float]:
    prefix = _prefix(cache_key)
    if not kept.startswith(prefix):
        return {}
    scores: dict[bytes, float] = dict(_SCORE.iter_unpack(kept[len(prefix) :]))
    found = {item: scores.get(_digest(item, revision)) for item, revision in revisions.items()}
    return {item: score for item, score in found.items() if score is not None}


def _prefix(cache_key: str) -> bytes:
    """The start of the string. It holds the key's length, so no cache key is taken for the start of another."""
    return f"{len(cache_key)}:{cache_key}".encode()


def _digest(item_id: str, revision: int) -> bytes:
    return blake2b(f"{revision} {item_id}".encode(), digest_size=SCORE_BYTES - 4).digest()
