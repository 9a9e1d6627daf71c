"""Interactions in numbers: types and their signals, sequence lengths, popularity, times, mistakes."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from model_store.data.dataset import Dataset, Split, user_split
from model_store.data.rows import InteractionRow
from model_store.data.statistics.distributions import Distribution, gini, top_share
from model_store.data.targets import target_position
from model_store.signals import Signals

_CLOCK_FROM_S = 1e8
"""1973. Data sets whose times are all smaller have positions or day numbers instead of clock times."""
_SKEW_S = 86_400.0


@dataclass(slots=True)
class TypeCount:
    """The interactions of one type by signal. `highest` is the highest rating."""

    positive: int = 0
    negative: int = 0
    neutral: int = 0
    exposures: int = 0
    is_known: bool = True
    highest: float | None = None
    scale: float | None = None

    @property
    def total(self) -> int:
        return self.positive + self.negative + self.neutral + self.exposures


@dataclass(frozen=True, slots=True)
class Popularity:
    """How interactions are spread over the items of the catalogue. Shares are in 0..1."""

    never: int
    gini: float
    top_1: float
    top_10: float


@dataclass(frozen=True, slots=True)
class Times:
    """`ties` is the share, in 0..1, of interactions at the same moment as the user's one before."""

    first: float
    last: float
    is_clock: bool
    ties: float
    users_out_of_order: int
    future: int


@dataclass(frozen=True, slots=True)
class SplitCount:
    """The users of one split. `cases` have a liked item that evaluation can hold out."""

    users: int
    interactions: int
    cases: int


@dataclass(frozen=True)
class InteractionStatistics:
    """What `interactions.csv` holds. `duplicates` are rows that are in the file before, `unknown` name no item."""

    rows: int
    users: int
    items: int
    types: dict[str, TypeCount]
    splits: dict[Split, SplitCount]
    lengths: Distribution | None
    popularity: Popularity
    times: Times | None
    duplicates: int
    unknown: int
    unknown_ids: list[str] = field(repr=False)


def interaction_statistics(
    rows: Sequence[InteractionRow], dataset: Dataset, signals: Signals, now_s: float | None = None
) -> InteractionStatistics:
    """The figures for `rows`, in the file's order, whose histories `dataset` has."""
    unknown = Counter(row.item_id for row in rows if row.item_id not in dataset.items)
    met = popularity_of(dataset)
    return InteractionStatistics(
        rows=len(rows),
        users=len(dataset.histories),
        items=sum(count > 0 for count in met.values()),
        types=_types(rows, signals),
        splits={split: _split(dataset, split) for split in ("train", "validation", "test")},
        lengths=Distribution.of([len(history) for history in dataset.histories.values()]),
        popularity=_popularity(list(met.values())),
        times=_times(rows, time.time() if now_s is None else now_s) if rows else None,
        duplicates=len(rows) - len(set(rows)),
        unknown=unknown.total(),
        unknown_ids=[item_id for item_id, _ in unknown.most_common(20)],
    )


def has_clock_times(rows: Iterable[InteractionRow]) -> bool:
    """Whether the timestamps are times, and not positions in a history or day numbers."""
    return max((row.timestamp for row in rows), default=0.0) >= _CLOCK_FROM_S


def popularity_of(dataset: Dataset) -> dict[str, int]:
    """The number of interactions with each item of the catalogue."""
    met = dict.fromkeys(dataset.items, 0)
    for history in dataset.histories.values():
        for event in history:
            if event.item_id in met:
                met[event.item_id] += 1
    return met


def _types(rows: Sequence[InteractionRow], signals: Signals) -> dict[str, TypeCount]:
    types: dict[str, TypeCount] = {}
    for row in rows:
        count = types.setdefault(row.type, TypeCount())
        if signals.is_exposure(row.type):
            count.exposures += 1
            continue
        match signals(row.type, row.rating if signals.reads_value(row.type) else None):
            case "positive":
                count.positive += 1
            case "negative":
                count.negative += 1
            case _:
                count.neutral += 1
        if row.rating is not None and signals.reads_value(row.type):
            count.highest = row.rating if count.highest is None else max(count.highest, row.rating)
    values = signals.vocabulary().values
    for kind, count in types.items():
        count.is_known = signals.knows(kind)
        count.scale = values[kind].of if kind in values else None
    return dict(sorted(types.items(), key=lambda pair: -pair[1].total))


def _split(dataset: Dataset, split: Split) -> SplitCount:
    histories = [events for user, events in dataset.histories.items() if user_split(user) == split]
    cases = sum(target_position(events, dataset.items) is not None for events in histories)
    return SplitCount(len(histories), sum(map(len, histories)), cases)


def _popularity(met: Sequence[int]) -> Popularity:
    return Popularity(met.count(0), gini(met), top_share(met, 0.01), top_share(met, 0.1))


def _times(rows: Sequence[InteractionRow], now_s: float) -> Times:
    of_user: dict[str, list[float]] = {}
    for row in rows:
        of_user.setdefault(row.user_id, []).append(row.timestamp)
    moments = [row.timestamp for row in rows]
    followed = len(rows) - len(of_user)
    ties = sum(a == b for times in of_user.values() for a, b in pairwise(sorted(times)))
    is_clock = has_clock_times(rows)
    return Times(
        first=min(moments),
        last=max(moments),
        is_clock=is_clock,
        ties=ties / followed if followed else 0.0,
        users_out_of_order=sum(any(a > b for a, b in pairwise(times)) for times in of_user.values()),
        future=sum(moment > now_s + _SKEW_S for moment in moments) if is_clock else 0,
    )
