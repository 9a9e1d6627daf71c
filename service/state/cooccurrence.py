"""Co-occurrence: how many users liked each item, and each pair of items.

Counts are updated after a commit and on other slots than the user, so a crash may lose one. A user counts once, see
`service.state.votes`; the counts of a deleted user are withdrawn. Counts may name items that are not in the catalogue
(seeded or deleted ones), so items found through them must be looked up there. Similarity is the cosine of
`model_store.cooccurrence`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from model_store import cooccurrence
from model_store.cooccurrence import summed_cosine
from service.settings.state import StateSettings
from service.state import votes
from service.state.counting import calls, list_calls, parse_counts
from service.state.early import COUNT, Early
from service.state.index_times import Index, IndexTimes
from service.state.keys import Keys
from service.state.reads import Read
from service.state.redis.scripts import Operation, Scripts

CALLS_PER_ROUND_TRIP = 50
Together = Mapping[str, Mapping[str, float]]
"""For each item, how many users liked it together with each of the others."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many users liked each item. The counts of `void` items are still being removed from lists."""

    popular: Mapping[str, float]
    void: frozenset[str]

    def of(self, item: str) -> float:
        """How many users liked it since it was last added to the catalogue."""
        return 0.0 if item in self.void else self.popular.get(item, 0.0)

    def __or__(self, other: "Counts") -> "Counts":
        return Counts({**self.popular, **other.popular}, self.void | other.void)


class CooccurrenceCounts:
    """Bounded by the settings: `neighbours` items per item, `popular` items in all, temporarily a quarter more.

    Args:
        early: counts items that are not in the catalogue.
    """

    def __init__(self, scripts: Scripts, keys: Keys, settings: StateSettings, early: Early) -> None:
        self._scripts = scripts
        self._keys = keys
        self._settings = settings
        self._early = early
        self.times = IndexTimes(scripts, keys)

    async def record(
        self, liked: Sequence[str], before: Sequence[str | None], absent: Collection[str] = frozenset()
    ) -> None:
        """Count items that one user likes for the first time, in their order, with those counted `before`.

        Items that are `absent` from the catalogue are counted separately until they are added to it.
        """
        past = list(before)
        new = [item for item in dict.fromkeys(liked) if item not in past]
        together, away = _together([*past, *new], len(past)), frozenset(absent)
        present = {
            item: {other: count for other, count in others.items() if other not in away}
            for item, others in together.items()
            if item not in away
        }
        await self._count(dict.fromkeys((item for item in new if item not in away), 1.0), present)
        if early := [item for item in new if item in away]:
            await self._early.record({item: together.get(item, {}) for item in early})
        if older := {item: row for item, row in together.items() if item in away and item not in early}:
            await self._early.pair(older)

    async def withdraw(self, liked: Sequence[str | None]) -> None:
        """Withdraw the counts of one user, for whom these items were counted in this order."""
        counts = dict.fromkeys((item for item in liked if item is not None), 1.0)
        together = _together(liked)
        # The count of an item that was never in the catalogue is in its own list.
        rows = {self._keys.neighbours(item): {COUNT: 1.0, **together.get(item, {})} for item in counts}
        rankings: dict[str, Mapping[str, float]] = {self._keys.popular: counts, **rows}
        await self._run([call for ranking, counts in rankings.items() for call in calls("uncount", ranking, counts)])

    async def seed(
        self, marker: str, counts: Iterable[tuple[str, float]], pairs: Iterable[tuple[str, str, float]]
    ) -> bool:
        """Add the counts of a training set once per `marker`; False if they were added before.

        A pair (item, neighbour, count) is added to the item's list only.
        """
        (seeded,) = await self._scripts.run([("SISMEMBER", self._keys.seeded, marker)])
        if seeded:
            return False
        together = _table()
        for item, neighbour, count in pairs:
            together[item][neighbour] += count
        await self._count(dict(counts), together)
        await self._scripts.run([("SADD", self._keys.seeded, marker)])
        return True

    def pairs(self, recent: Sequence[str], candidates: Sequence[str]) -> Read[Together]:
        """For each candidate, how many users liked it together with each of the `recent` items.

        Reads the candidates' lists and not those of the recents: a popular recent has more neighbours than its list
        holds, so its list would favour other popular items.
        """
        return Read(
            [("ZMSCORE", self._keys.neighbours(item), *recent) for item in candidates] if recent else (),
            lambda rows: {
                item: {other: count for other, count in zip(recent, row, strict=True) if count}
                for item, row in zip(candidates, rows or [()] * len(candidates), strict=False)
            },
        )

    def lists(self, recent: Sequence[str]) -> Read[Together]:
        """For each of the `recent` items, how many users liked each of its neighbours together with it."""
        return Read(
            [("ZRANGE", self._keys.neighbours(item), 0, -1, "WITHSCORES") for item in recent],
            lambda rows: {item: _neighbours(flat) for item, flat in zip(recent, rows, strict=True)},
        )

    def counts(self, items: Sequence[str]) -> Read[Counts]:
        """How many users liked each of the items."""
        rankings = (self._keys.popular, self._keys.deleted_items) if items else ()
        return Read([("ZMSCORE", ranking, *items) for ranking in rankings], partial(_counts, items))

    def ranking(self, start: int, size: int) -> Read[list[str]]:
        """`size` items of the popularity ranking from position `start`; they need not be in the catalogue."""
        return Read(
            (("ZREVRANGE", self._keys.popular, start, start + size - 1),),
            lambda results: [name.decode() for name in results[0]],
        )

    async def _count(self, counts: Mapping[str, float], together: Together) -> None:
        popular = calls("count", self._keys.popular, counts, self._settings.popular)
        lists = list_calls(self._keys, together, self._settings.neighbours)
        changed: dict[Index, bool] = {"popular": bool(popular), "cooccurrence": bool(lists)}
        times = self.times.updating([index for index, has_changed in changed.items() if has_changed])
        await self._run([*popular, *lists, *times])

    async def _run(self, operations: Sequence[Operation]) -> None:
        for start in range(0, len(operations), CALLS_PER_ROUND_TRIP):
            await self._scripts.run(operations[start : start + CALLS_PER_ROUND_TRIP])


def _together(items: Sequence[str | None], first: int = 0) -> Together:
    """The pairs of a user's items from position `first`, in both directions."""
    table = _table()
    for one, other in votes.pairs(items, first):
        table[one][other] = table[other][one] = 1
    return table


def _table() -> dict[str, dict[str, float]]:
    return defaultdict(lambda: defaultdict(float))


def _counts(items: Sequence[str], results: list[Any]) -> Counts:
    counts, noted = results or ((), ())
    popular = {item: count or 0.0 for item, count in zip(items, counts, strict=True)}
    return Counts(popular, frozenset(item for item, deleted in zip(items, noted, strict=True) if deleted is not None))


def _neighbours(flat: list[bytes]) -> Mapping[str, float]:
    counts = parse_counts(flat)
    counts.pop(COUNT, None)
    return counts


def named(together: Together) -> list[str]:
    """All items in it, once each."""
    return list(dict.fromkeys([*together, *(other for others in together.values() for other in others)]))


def cosines(together: Together, counts: Counts) -> dict[str, float]:
    """For each item of `together`, the sum of its cosines with those it was liked together with; 0 where unknown."""
    return {item: summed_cosine(item, others, counts.of) for item, others in together.items()}


def nearest(together: Together, counts: Counts, exclude: Collection[str]) -> list[str]:
    """The items that were liked together with those of `together`, most similar first."""
    return cooccurrence.nearest(together, counts.of, {*exclude, *counts.void})
