"""Makes a dataset comparable with those of papers: k-core, a sample of users, no copies. Pure functions over rows."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence

from model_store.data.rows import InteractionRow

_LEAST_COPIED = 5
"""Two users may well have the same few interactions by chance."""


def without_copies(rows: Iterable[InteractionRow]) -> list[InteractionRow]:
    """The rows without exact copies of others, in their order."""
    return list(dict.fromkeys(rows))


def without_copied_users(rows: Sequence[InteractionRow]) -> list[InteractionRow]:
    """The rows without users whose whole history, of five or more events, is that of a user before them.

    A copy of a training user among the test users would be a leak.
    """
    histories: dict[str, list[InteractionRow]] = defaultdict(list)
    for row in rows:
        histories[row.user_id].append(row)
    known: set[tuple[tuple[str, float | None, str], ...]] = set()
    copies = set()
    for user, history in histories.items():
        ordered = sorted(history, key=lambda row: row.timestamp)
        signature = tuple((row.item_id, row.rating, row.type) for row in ordered)
        if len(signature) >= _LEAST_COPIED and signature in known:
            copies.add(user)
        known.add(signature)
    return [row for row in rows if row.user_id not in copies]


def with_known_items(rows: Iterable[InteractionRow], items: Container[str]) -> list[InteractionRow]:
    """The rows whose item is in the catalogue."""
    return [row for row in rows if row.item_id in items]


def sample_users(rows: Sequence[InteractionRow], most: int, seed: int) -> list[InteractionRow]:
    """The rows of at most `most` users, drawn by a hash of the seed and the id: larger samples contain smaller ones."""
    users = sorted({row.user_id for row in rows}, key=lambda user: hashlib.sha256(f"{seed}\0{user}".encode()).digest())
    chosen = set(users[:most])
    return [row for row in rows if row.user_id in chosen]


def k_core(rows: Sequence[InteractionRow], k: int) -> list[InteractionRow]:
    """The largest part in which every user met at least `k` items and every item was met by at least `k` users.

    Repeated interactions with an item count once.
    """
    pairs = {(row.user_id, row.item_id) for row in rows}
    while True:
        users = Counter(user for user, _ in pairs)
        items = Counter(item for _, item in pairs)
        kept = {(user, item) for user, item in pairs if users[user] >= k and items[item] >= k}
        if len(kept) == len(pairs):
            return [row for row in rows if (row.user_id, row.item_id) in kept]
        pairs = kept


def moment_of(rows: Sequence[InteractionRow], share: float) -> float:
    """The time before which `share`, 0..1, of the rows come: linear between two rows, as numpy's quantile."""
    moments = sorted(row.timestamp for row in rows)
    place = share * (len(moments) - 1)
    low = int(place)
    high = min(low + 1, len(moments) - 1)
    return moments[low] + (place - low) * (moments[high] - moments[low])
