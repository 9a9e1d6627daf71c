"""One user, one vote: the items, and the pairs of items, for which a user was counted. No I/O.

The record of a user is a string of digests, four characters per item, in the order in which they were counted. It is
stored with the summary, so that the commit that folds a like also records that it was counted. An item is counted when
it is first liked, and paired with the `TOGETHER` items counted before it. The record therefore says which counts to
withdraw when the user is deleted. It holds the last `votes` items; older ones would count again.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

TOGETHER = 20
"""The number of previously counted items with which an item is paired."""
_DIGEST_BYTES, _CHARS = 3, 4


def uncounted(record: str, liked: Iterable[str]) -> list[str]:
    """The distinct items among `liked` that are not in the record, in their order."""
    counted = set(_digests(record))
    return [item for item in dict.fromkeys(liked) if _digest(item) not in counted]


def counted(record: str, items: Iterable[str], most: int) -> str:
    """The record with `items` appended; it keeps the last `most`."""
    return (record + "".join(map(_digest, items)))[-most * _CHARS :]


def named(record: str, known: Iterable[str]) -> list[str | None]:
    """The items of the record in its order; None for each that is not among the `known` ones."""
    items = {_digest(item): item for item in known}
    return [items.get(one) for one in _digests(record)]


def last(record: str) -> str:
    """The part of the record with which a newly counted item is paired."""
    return record[-TOGETHER * _CHARS :]


def pairs(items: Sequence[str | None], first: int = 0) -> Iterator[tuple[str, str]]:
    """The counted pairs of each item from position `first` with the items before it."""
    for at in range(first, len(items)):
        one = items[at]
        for other in items[max(0, at - TOGETHER) : at]:
            if one is not None and other is not None and other != one:
                yield one, other


def _digest(item_id: str) -> str:
    return base64.b64encode(blake2b(item_id.encode(), digest_size=_DIGEST_BYTES).digest()).decode()


def _digests(record: str) -> Iterator[str]:
    return (record[at : at + _CHARS] for at in range(0, len(record), _CHARS))
