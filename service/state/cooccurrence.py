"""Co-occurrence: how many users liked each item, and each pair of items.

Counts are updated after a commit and on other slots than the user: a crash may lose one. A user counts once, see
`service.state.votes`, and what a deleted user added is taken back.
They may name items that are in no catalogue (seeded ones, or deleted meanwhile): what is found is
held against the catalogue.
Similarity is the cosine of `model_store.cooccurrence`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from model_store.cooccurrence import cosine, summed_cosine
from service.state import votes
from service.state.counting import calls
from service.state.early import COUNT, Early, Known, without
from service.state.keys import DELETED_ITEMS, POPULAR, SEEDED, neighbours
from service.state.reads import Read, Wave, alone
from service.state.redis.scripts import Call, Scripts

CALLS_AT_ONCE = 50
Together = Mapping[str, Mapping[str, float]]
"""For each item, how often others were liked by the same user."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often items were liked. The counts of the `void` ones are still being removed from lists."""

    popular: Mapping[str, float]
    void: frozenset[str]

    def of(self, item: str) -> float:
        """How often it was liked since it last came into the catalogue."""
        return 0.0 if item in self.void else self.popular.get(item, 0.0)

    def __or__(self, other: "Counts") -> "Counts":
        return Counts({**self.popular, **other.popular}, self.void | other.void)


class CooccurrenceCounts:
    """Bounded: `neighbours` items per item, `popular` items in all, and of both a quarter more at a time.

    Args:
        known: returns those of some items that are in the catalogue.
        early: counts what is not.
    """

    def __init__(self, scripts: Scripts, popular: int, neighbours: int, known: Known, early: Early) -> None:
        self._scripts = scripts
        self._early = early
        self._popular = popular
        self._neighbours = neighbours
        self._known = known

    async def record(
        self, liked: Sequence[str], before: Sequence[str | None], absent: Collection[str] = frozenset()
    ) -> None:
        """Count items that one user likes for the first time, in their order, with those counted `before` for it.

        Those of both that are `absent` from the catalogue are counted apart, until they come.
        """
        past = list(before)
        new = [item for item in dict.fromkeys(liked) if item not in past]
        together, away = _together([*past, *new], len(past)), frozenset(absent)
        if not away:
            await self._run(self._counting(dict.fromkeys(new, 1.0), together))
            return
        there = dict.fromkeys((item for item in new if item not in away), 1.0)
        await self._run(self._counting(there, without(away, together)))
        if early := [item for item in new if item in away]:
            await self._early.record({item: together.get(item, {}) for item in early})
        if older := {item: row for item, row in together.items() if item in away and item not in early}:
            await self._early.pair(older)

    async def withdraw(self, liked: Sequence[str | None]) -> None:
        """Take back what one user added: the items counted for it, in that order."""
        counts = dict.fromkeys((item for item in liked if item is not None), 1.0)
        together = _together(liked)
        # Of an item that never came, its own list has the count.
        rows = {neighbours(item): {COUNT: 1.0, **together.get(item, {})} for item in counts}
        rankings: dict[str, Mapping[str, float]] = {POPULAR: counts, **rows}
        await self._run([call for ranking, counts in rankings.items() for call in calls("uncount", ranking, counts)])

    async def seed(
        self, marker: str, counts: Iterable[tuple[str, float]], pairs: Iterable[tuple[str, str, float]]
    ) -> bool:
        """Add the counts of a training set once per `marker`; False if they were added before.

        A pair (item, neighbour, count) goes into the item's list only.
        """
        (seeded,) = await self._scripts.send([("SISMEMBER", SEEDED, marker)])
        if seeded:
            return False
        together = _table()
        for item, neighbour, count in pairs:
            together[item][neighbour] += count
        await self._run(self._counting(dict(counts), together))
        await self._scripts.send([("SADD", SEEDED, marker)])
        return True

    async def collaborative(self, recent: Sequence[str], candidates: Sequence[str]) -> dict[str, float]:
        """For each candidate the sum of its cosines with the distinct `recent` items; 0 where nothing is known.

        The candidates' lists are read, not those of the recents: a popular recent has more
        neighbours than its list holds, and would vote only for what is popular too.
        """
        near, wanted = list(dict.fromkeys(recent)), list(dict.fromkeys(candidates))
        if not near or not wanted:
            return dict.fromkeys(candidates, 0.0)
        wave = Wave(self._scripts)
        together, counts = wave.add(self.pairs(near, wanted)), wave.add(self.counts([*near, *wanted]))
        await wave.send()
        return cosines(together.value(), counts.value())

    def pairs(self, recent: Sequence[str], candidates: Sequence[str]) -> Read[Together]:
        """For each candidate, how often it was liked together with each of the `recent` items."""
        return Read(
            [("ZMSCORE", neighbours(item), *recent) for item in candidates] if recent else (),
            lambda rows: {
                item: {other: count for other, count in zip(recent, row, strict=True) if count}
                for item, row in zip(candidates, rows or [()] * len(candidates), strict=False)
            },
        )

    def lists(self, recent: Sequence[str]) -> Read[Together]:
        """For each of the `recent` items, how often its neighbours were liked together with it."""
        return Read(
            [("ZRANGE", neighbours(item), 0, -1, "WITHSCORES") for item in recent],
            lambda rows: {item: _scored(flat) for item, flat in zip(recent, rows, strict=True)},
        )

    def counts(self, items: Sequence[str]) -> Read[Counts]:
        """How often each of the items was liked."""
        if not items:
            return Read((), lambda _: Counts({}, frozenset()))
        return Read((("ZMSCORE", POPULAR, *items), ("ZMSCORE", DELETED_ITEMS, *items)), partial(_counts, items))

    def ranking(self, start: int, size: int) -> Read[list[str]]:
        """`size` items from place `start` of the popularity ranking on, of any catalogue or none."""
        return Read(
            (("ZREVRANGE", POPULAR, start, start + size - 1),), lambda results: [name.decode() for name in results[0]]
        )

    async def neighbours(self, recent: Sequence[str], k: int, exclude: Collection[str] = ()) -> list[str]:
        """The `k` items of the catalogue closest to the `recent` ones, not among them or `exclude`, best first."""
        together = await alone(self._scripts, self.lists(list(dict.fromkeys(recent))))
        counts = await alone(self._scripts, self.counts(named(together)))
        best = nearest(together, counts, {*recent, *exclude})
        near: list[str] = []
        for start in range(0, len(best), k):
            looked = best[start : start + k]
            there = await self._known(looked)
            near += [item for item in looked if item in there]
            if len(near) >= k:
                break
        return near[:k]

    async def popularity(self, items: Sequence[str]) -> dict[str, float]:
        """How often each of the items was liked."""
        if not items:
            return {}
        (counts,) = await self._scripts.send([("ZMSCORE", POPULAR, *items)])
        return {item: count or 0.0 for item, count in zip(items, counts, strict=True)}

    def _counting(self, counts: Mapping[str, float], together: Mapping[str, Mapping[str, float]]) -> list[Call]:
        found = calls("count", POPULAR, counts, self._popular)
        for item, others in together.items():
            found += calls("count", neighbours(item), others, self._neighbours)
        return found

    async def _run(self, calls: Sequence[Call]) -> None:
        for start in range(0, len(calls), CALLS_AT_ONCE):
            await self._scripts.run(calls[start : start + CALLS_AT_ONCE])


def _together(items: Sequence[str | None], first: int = 0) -> Mapping[str, Mapping[str, float]]:
    """The pairs of a user's items from place `first`, in both directions."""
    table = _table()
    for one, other in votes.pairs(items, first):
        table[one][other] = table[other][one] = 1
    return table


def _table() -> dict[str, dict[str, float]]:
    return defaultdict(lambda: defaultdict(float))


def _counts(items: Sequence[str], results: list[Any]) -> Counts:
    counts, noted = results
    popular = {item: count or 0.0 for item, count in zip(items, counts, strict=True)}
    return Counts(popular, frozenset(item for item, gone in zip(items, noted, strict=True) if gone is not None))


def _scored(flat: list[Any]) -> dict[str, float]:
    return {flat[at].decode(): float(flat[at + 1]) for at in range(0, len(flat), 2) if flat[at]}


def named(together: Together) -> list[str]:
    """All items that are in it, once each."""
    return list(dict.fromkeys([*together, *(other for others in together.values() for other in others)]))


def cosines(together: Together, counts: Counts) -> dict[str, float]:
    """For each item of `together`, the sum of its cosines with those it was liked together with; 0 where unknown."""
    return {item: summed_cosine(item, others, counts.of) for item, others in together.items()}


def nearest(together: Together, counts: Counts, exclude: Collection[str]) -> list[str]:
    """What the items of `together` were liked together with, the closest first."""
    scores: dict[str, float] = defaultdict(float)
    for item, others in together.items():
        for other, count in others.items():
            if other not in exclude and other not in counts.void:
                scores[other] += cosine(count, counts.of(item), counts.of(other))
    return sorted(scores, key=lambda item: (-scores[item], item))
