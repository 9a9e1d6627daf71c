"""One user is one vote: which items a user was counted for, and which pairs of them. No I/O.

The record of a user is a string of digests, four characters for each item, in the order in which they were
counted. It goes with the summary, so that the commit that folds a like also writes down that it was counted.
An item is counted when it is first liked, and together with the `TOGETHER` items counted before it; therefore
the record says what to take back when the user is deleted. Only the last `votes` items are remembered: older ones
would count again.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

TOGETHER = 20
"""How many of the items counted before it an item is paired with."""
_DIGEST_BYTES, _CHARS = 3, 4


def uncounted(record: str, liked: Iterable[str]) -> list[str]:
    """The distinct items among `liked` that the record does not have, in their order."""
    counted = set(_digests(record))
    return [item for item in dict.fromkeys(liked) if _digest(item) not in counted]


def counted(record: str, items: Iterable[str], most: int) -> str:
    """The record with `items` appended, of which the last `most` are kept."""
    whole = record + "".join(map(_digest, items))
    return whole[-most * _CHARS :]


def named(record: str, known: Iterable[str]) -> list[str | None]:
    """The items of the record in its order; None where none of the `known` ones is it."""
    items = {_digest(item): item for item in known}
    return [items.get(one) for one in _digests(record)]


def last(record: str) -> str:
    """The part of the record that a newly counted item is paired with."""
    return record[-TOGETHER * _CHARS :]


def pairs(items: Sequence[str | None], first: int = 0) -> Iterator[tuple[str, str]]:
    """Each of the items from place `first` with those that it is counted together with."""
    for place in range(first, len(items)):
        one = items[place]
        for other in items[max(0, place - TOGETHER) : place]:
            if one is not None and other is not None and other != one:
                yield one, other


def _digest(item_id: str) -> str:
    return base64.b64encode(blake2b(item_id.encode(), digest_size=_DIGEST_BYTES).digest()).decode()


def _digests(record: str) -> Iterator[str]:
    return (record[at : at + _CHARS] for at in range(0, len(record), _CHARS))
