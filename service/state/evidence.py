"""Collaborative evidence: how often items were liked, alone and by the same users.

Counts are updated after a commit and on other slots than the user: a crash may lose or repeat one.
Similarity is the cosine of item-based collaborative filtering, cooc(a, b) / sqrt(n_a n_b)
(Sarwar et al., 2001).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from service.state.keys import POPULAR, SEEDED, neighbours
from service.state.scripts import Argument, Call, Scripts

CALLS_AT_ONCE = 20


class Evidence:
    """Bounded: `neighbours` items per item, `popular` items in all."""

    def __init__(self, scripts: Scripts, popular: int) -> None:
        self._scripts = scripts
        self._popular = popular

    async def record(self, liked: Sequence[str], before: Sequence[str]) -> None:
        """Count items newly liked by one user, in their order, with those it liked `before`."""
        pairs = _table()
        past = list(dict.fromkeys(before))
        for item in liked:
            for other in past:
                if other != item:
                    pairs[item][other] += 1
                    pairs[other][item] += 1
            if item not in past:
                past.append(item)
        await self._add(Counter(liked), pairs)

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
        await self._add(dict(counts), together)
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
        rows = await self._scripts.send([("ZMSCORE", neighbours(item), *near) for item in wanted])
        counts = await self.popularity([*near, *wanted])
        return {
            item: sum(
                count / math.sqrt(counts[item] * counts[other])
                for other, count in zip(near, row, strict=True)
                if count and other != item and counts[item] > 0 and counts[other] > 0
            )
            for item, row in zip(wanted, rows, strict=True)
        }

    async def neighbours(self, recent: Sequence[str], k: int) -> list[str]:
        """The `k` items closest to the `recent` ones and not among them, best first."""
        together = await self._together(recent)
        found = sorted({item for others in together.values() for item in others} - set(recent))
        scores = _cosines(together, found, await self.popularity([*together, *found]))
        return sorted(scores, key=lambda item: (-scores[item], item))[:k]

    async def popular(self, k: int, exclude: Collection[str] = ()) -> list[str]:
        """The `k` items liked most often, without `exclude`, best first."""
        (ranked,) = await self._scripts.send([("ZREVRANGE", POPULAR, 0, k + len(exclude) - 1)])
        return [item for name in ranked if (item := name.decode()) not in exclude][:k]

    async def popularity(self, items: Sequence[str]) -> dict[str, float]:
        """How often each of the items was liked."""
        if not items:
            return {}
        (counts,) = await self._scripts.send([("ZMSCORE", POPULAR, *items)])
        return {item: count or 0.0 for item, count in zip(items, counts, strict=True)}

    async def _together(self, recent: Sequence[str]) -> dict[str, dict[str, float]]:
        items = list(dict.fromkeys(recent))
        rows = await self._scripts.send([("ZRANGE", neighbours(item), 0, -1, "WITHSCORES") for item in items])
        return {
            item: {flat[at].decode(): float(flat[at + 1]) for at in range(0, len(flat), 2)}
            for item, flat in zip(items, rows, strict=True)
        }

    async def _add(self, counts: Mapping[str, float], together: Mapping[str, Mapping[str, float]]) -> None:
        calls = [
            Call("cooccur", (neighbours(item),), [value for other, n in others.items() for value in (n, other)])
            for item, others in together.items()
        ]
        for start in range(0, len(calls), CALLS_AT_ONCE):
            await self._scripts.run(calls[start : start + CALLS_AT_ONCE])
        if counts:
            commands: list[tuple[Argument, ...]] = [("ZINCRBY", POPULAR, count, item) for item, count in counts.items()]
            await self._scripts.send([*commands, ("ZREMRANGEBYRANK", POPULAR, 0, -self._popular - 1)])


async def forget(scripts: Scripts, item_id: str) -> None:
    """Remove what was counted about an item that is no more."""
    await scripts.send([("DEL", neighbours(item_id)), ("ZREM", POPULAR, item_id)])


def _table() -> dict[str, dict[str, float]]:
    return defaultdict(lambda: defaultdict(float))


def _cosines(
    together: Mapping[str, Mapping[str, float]], candidates: Iterable[str], counts: Mapping[str, float]
) -> dict[str, float]:
    scores: dict[str, float] = {}
    for candidate in candidates:
        near = 0.0
        for item, others in together.items():
            if candidate in others and counts[item] > 0 and counts[candidate] > 0:
                near += others[candidate] / math.sqrt(counts[item] * counts[candidate])
        scores[candidate] = near
    return scores
