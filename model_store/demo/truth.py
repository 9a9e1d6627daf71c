"""The demo world's ground truth: true tastes, the oracle's scores, and how well a summary states them."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store.data.dataset import Dataset
from model_store.demo.world import ATTRIBUTES, TASTES, THEMES, Taste, WorldItem
from model_store.evaluate.protocol import EvaluationCase
from model_store.msr.teacher import parse

_THEME_OF = {word: theme for theme, words in THEMES.items() for word in words}


@dataclass(frozen=True, slots=True)
class Stated:
    """How well a summary states a taste. `precision`: the share of its likes that are true; `recall`: the share of the
    true likes that it states. Both 0..1."""

    precision: float
    recall: float


@dataclass(frozen=True)
class Truth:
    """The tastes of all users over time, and the attributes of all items."""

    tastes: Mapping[str, Sequence[Taste]]
    attributes: Mapping[str, Mapping[str, str]]

    def taste(self, dataset: Dataset, case: EvaluationCase) -> Taste:
        """The user's taste at the time of the case's target."""
        items = [event.item_id for event in dataset.histories[case.user_id]]
        periods = self.tastes[case.user_id]
        return periods[bisect_right([taste.since for taste in periods], items.index(case.target)) - 1]

    def oracle(self, dataset: Dataset, cases: Sequence[EvaluationCase]) -> list[list[float]]:
        """The true affinity of each case's candidates."""
        tastes = [self.taste(dataset, case) for case in cases]
        return [
            [float(taste.affinity(dict(self.attributes[candidate]))) for candidate in case.candidates]
            for taste, case in zip(tastes, cases, strict=True)
        ]


def read_truth(folder: Path, catalogue: Sequence[WorldItem]) -> Truth:
    """Read `tastes.jsonl` of a world."""
    tastes: dict[str, list[Taste]] = {}
    with (folder / TASTES).open(encoding="utf-8") as lines:
        for line in lines:
            fields = json.loads(line)
            likes, dislikes = (
                {name: tuple(values) for name, values in fields[side].items()} for side in ("likes", "dislikes")
            )
            tastes.setdefault(fields["user_id"], []).append(Taste(fields["since"], likes, dislikes))
    return Truth(tastes, {item.item_id: item.attributes for item in catalogue})


def stated(summary: str, taste: Taste) -> Stated:
    """Compare a summary's liked terms with a true taste; a theme counts as stated by any of its words."""
    known = {value for values in ATTRIBUTES.values() for value in values}
    found = {_THEME_OF.get(term, term) for term in parse(summary).likes} & known
    true = {value for values in taste.likes.values() for value in values}
    right = len(found & true)
    return Stated(right / len(found) if found else 0.0, right / len(true))
