"""Recommendation ids that encode what ranked the recommendation, so that nothing has to be stored.

An id is 16 bytes in hexadecimal: 8 random ones, 2 for `served_by`, 2 for the model version, 4 that check the others.
The check detects ids of other systems. It does not detect forged ids, which can only distort a metric.
"""

import os
from hashlib import blake2b
from typing import NamedTuple, get_args

from service.recommend.schemas import ServedBy

_RANDOM, _NAME, _CHECK = 8, 2, 4
_SIZE = _RANDOM + 2 * _NAME + _CHECK


class Receipt(NamedTuple):
    """What ranked a recommendation. `model` is "" if none is configured, and `other` for that of another gateway."""

    served_by: str
    model: str


UNKNOWN = Receipt("unknown", "")


def issue(served_by: ServedBy, model: str | None) -> str:
    """A new id."""
    body = os.urandom(_RANDOM) + _digest(served_by) + _digest(model or "")
    return (body + _check(body)).hex()


def read(recommendation_id: str, model: str | None) -> Receipt:
    """Decode an id in a gateway whose ranker is `model`; returns `UNKNOWN` for an id of another system."""
    try:
        raw = bytes.fromhex(recommendation_id)
    except ValueError:
        return UNKNOWN
    body, check = raw[:-_CHECK], raw[-_CHECK:]
    if len(raw) != _SIZE or check != _check(body):
        return UNKNOWN
    served, version = body[_RANDOM : _RANDOM + _NAME], body[_RANDOM + _NAME :]
    models = {_digest(one): one for one in (model or "", "")}
    return Receipt(_SERVED.get(served, "unknown"), models.get(version, "other"))


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=_NAME, person=b"receipt").digest()


def _check(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECK, person=b"receipt check").digest()


_SERVED: dict[bytes, str] = {_digest(one): one for one in get_args(ServedBy)}
