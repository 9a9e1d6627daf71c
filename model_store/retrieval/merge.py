"""One list of candidates from those of several retrieval stages, each with its share of the places.

The service and the evaluation both merge by `in_turns`, so that what is measured is what is served.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Protocol, TypeVar


class Source(Protocol):
    """Names items, best first.

    Attributes:
        ids: named items that were not taken yet.
        done: whether it will name no more.
        quota: its share of the places. Only the proportions of the quotas count. A source without one is used when all
            those with one are empty; several of them in their order.
        most: how many of its items may be taken; None for no limit.
        had: how many were taken.
    """

    ids: deque[str]
    done: bool
    quota: float
    most: int | None
    had: int


S = TypeVar("S", bound=Source)


def in_turns(sources: Sequence[S], fresh: Callable[[str], bool], wait: bool = True) -> Iterator[tuple[str, S]]:
    """Take ids from the sources, each as often as its quota says.

    At any place, a source has had its share of the items up to there, to within one of them (Webster's method). One
    that is empty or has had its most leaves its share to the others. An item that several sources name is counted for
    the one whose turn comes first. Ends when all are empty, or at the turn of one that will name more.

    Args:
        fresh: called once with each id that is taken; one that is not fresh has no place.
        wait: False if sources that will name more are not waited for: they count as empty.
    """
    active = [source for source in sources if _room(source)]
    while active:
        turn = min(active, key=_behind)
        if turn.ids:
            item = turn.ids.popleft()
            if fresh(item):
                turn.had += 1
                yield item, turn
                if not _room(turn):
                    active.remove(turn)
        elif turn.done or not wait:
            active.remove(turn)
        else:
            return


def supply(source: Source) -> int:
    """How many of the ids that a source has named can still be taken."""
    return len(source.ids) if source.most is None else min(len(source.ids), source.most - source.had)


def alternating(*lists: Iterable[str]) -> list[str]:
    """The first of each list, then the second of each, and so on; each item once."""
    turns = chain.from_iterable(zip_longest(*lists))
    return list(dict.fromkeys(item for item in turns if item is not None))


@dataclass(slots=True)
class Listed:
    """A source whose items are all named."""

    name: str
    ids: deque[str]
    quota: float = 0.0
    most: int | None = None
    had: int = 0
    done: bool = True


def merged(sources: Sequence[Listed], k: int) -> list[tuple[str, str]]:
    """The first `k` distinct items of the sources in turn: pairs of an id and the name of its source."""
    met: set[str] = set()

    def fresh(item: str) -> bool:
        known = item in met
        met.add(item)
        return not known

    return [(item, source.name) for item, source in islice(in_turns(sources, fresh), k)]


def _room(source: Source) -> bool:
    return source.most is None or source.had < source.most


def _behind(source: Source) -> float:
    return (source.had + 0.5) / source.quota if source.quota else float("inf")
