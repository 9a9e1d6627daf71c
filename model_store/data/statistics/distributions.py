"""Percentiles, and how unequal counts are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Distribution:
    """Minimum, percentiles by the nearest rank, maximum and mean of some numbers."""

    least: float
    p10: float
    median: float
    p90: float
    p99: float
    most: float
    mean: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """None without values."""
        if not values:
            return None
        ordered = sorted(values)

        def at(share: float) -> float:
            return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

        mean = math.fsum(ordered) / len(ordered)
        return cls(ordered[0], at(0.1), at(0.5), at(0.9), at(0.99), ordered[-1], mean)

    def __str__(self) -> str:
        return (
            f"{self.least:,.0f} to {self.most:,.0f}, median {self.median:,.0f}, "
            f"10 % up to {self.p10:,.0f}, 90 % up to {self.p90:,.0f}, 99 % up to {self.p99:,.0f}"
        )


def gini(counts: Sequence[int]) -> float:
    """The Gini coefficient: 0 if all counts are equal, near 1 if one has everything; 0 without any."""
    total, number = sum(counts), len(counts)
    if not total:
        return 0.0
    weighted = sum(rank * count for rank, count in enumerate(sorted(counts), 1))
    return 2 * weighted / (number * total) - (number + 1) / number


def top_share(counts: Sequence[int], share: float) -> float:
    """The part of the total, in 0..1, that the largest `share` of the counts has (at least one of them)."""
    total = sum(counts)
    if not total:
        return 0.0
    return sum(sorted(counts, reverse=True)[: max(1, round(share * len(counts)))]) / total
