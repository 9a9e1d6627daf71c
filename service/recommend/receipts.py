"""Recommendation ids that encode what ranked the recommendation and in which order, so that nothing has to be stored.

An id is 17 to 27 bytes in hexadecimal: 8 random ones, 2 for `served_by`, 2 for the model version, 1 for the policy, 1
for each of the first ten items, and 4 that check the others. The check detects ids of other systems. It does not detect
forged ids, which can only distort a metric.
"""

import os
from collections.abc import Collection, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, get_args

from service.recommend.schemas import Policy, ServedBy

POLICIES: tuple[Policy, ...] = get_args(Policy)
SLOTS = 10
"""Items whose places an id encodes."""
_RANDOM, _NAME, _CHECK = 8, 2, 4
_HEAD = _RANDOM + 2 * _NAME + 1
_TRIES = 20


class Receipt(NamedTuple):
    """What ranked a recommendation. `model` is "" if none is configured, and `other` for one that is not known here."""

    served_by: str
    model: str
    policy: str
    salt: bytes = b""
    slots: bytes = b""

    def slot(self, item_id: str) -> int:
        """The item's place in the list, 1 to `SLOTS`; 0 for one further down. One in 25 not shown gets a place."""
        return self.slots.find(_slot(self.salt, item_id)) + 1


UNKNOWN = Receipt("unknown", "", "unknown")


def issue(served_by: ServedBy, model: str | None, policy: Policy = "production", items: Sequence[str] = ()) -> str:
    """A new id of a list of `items`, best first."""
    for _ in range(_TRIES):
        salt = os.urandom(_RANDOM)
        slots = b"".join(_slot(salt, item) for item in items[:SLOTS])
        # With another salt, items whose bytes are equal differ.
        if len(set(slots)) == len(slots):
            break
    ranked_by = _digest(served_by) + _digest(model or "") + bytes([POLICIES.index(policy)])
    body = salt + ranked_by + slots
    return (body + _check(body)).hex()


def read(recommendation_id: str, models: Collection[str]) -> Receipt:
    """Decode an id in a gateway that knows these model versions; returns `UNKNOWN` for an id of another system."""
    try:
        raw = bytes.fromhex(recommendation_id)
    except ValueError:
        return UNKNOWN
    body, check = raw[:-_CHECK], raw[-_CHECK:]
    if not _HEAD <= len(body) <= _HEAD + SLOTS or check != _check(body) or body[_HEAD - 1] >= len(POLICIES):
        return UNKNOWN
    salt, named = body[:_RANDOM], body[_RANDOM : _HEAD - 1]
    served_by = _SERVED.get(named[:_NAME], "unknown")
    model = next((one for one in (*models, "") if _digest(one) == named[_NAME:]), "other")
    return Receipt(served_by, model, POLICIES[body[_HEAD - 1]], salt, body[_HEAD:])


@lru_cache(1000)
def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=_NAME, person=b"receipt").digest()


def _slot(salt: bytes, item_id: str) -> bytes:
    return blake2b(item_id.encode(), digest_size=1, key=salt, person=b"receipt slot").digest()


def _check(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECK, person=b"receipt check").digest()


_SERVED: dict[bytes, str] = {_digest(one): one for one in get_args(ServedBy)}
