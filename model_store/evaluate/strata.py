"""Kinds of cases, which a mean over all users hides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model_store.evaluate.protocol import EvaluationCase

NEW_ITEM, NEW_USER = 5, 5
"""An item is new with fewer training likes, a user with at most so many events."""
LENGTHS = (NEW_USER, 20, 50)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Some of the cases. `of` says what divides them; `cases` has shape (cases,)."""

    of: str
    name: str
    cases: Mask


def strata(cases: Sequence[EvaluationCase], likes: Mapping[str, int]) -> list[Stratum]:
    """Divide cases by the target's popularity and by the user's history; empty strata are left out.

    Args:
        likes: how many training users liked an item.
    """
    popularity = np.array([likes.get(case.target, 0) for case in cases])
    length = np.array([case.events for case in cases])
    known = popularity[popularity >= NEW_ITEM]
    thirds: list[int] = []
    if len(known):
        thirds = np.unique(np.quantile(known, [1 / 3, 2 / 3], method="lower")).astype(int).tolist()
    found = [
        *_divided("likes of the target", popularity, [NEW_ITEM - 1, *thirds], "new item"),
        *_divided("events of the user", length, LENGTHS, "new user"),
    ]
    return [stratum for stratum in found if stratum.cases.any()]


def _divided(of: str, values: npt.NDArray[np.int64], ends: Sequence[int], first: str) -> list[Stratum]:
    """Cases by `values`: up to the first end, which is called `first`, from there up to the next, and so on."""
    numbers = np.searchsorted(ends, values, side="left")
    lows = [0, *(end + 1 for end in ends)]
    names = [f"{low} to {end}" for low, end in zip(lows, ends, strict=False)] + [f"{lows[-1]} and more"]
    names[0] += f" ({first})"
    return [Stratum(of, name, numbers == number) for number, name in enumerate(names)]
