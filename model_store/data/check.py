"""Whether a dataset can be trained and evaluated on: the cheap part of `tastestream data check`.

Commands that take hours call `require` first.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from model_store.data.dataset import IMAGES, Dataset, DatasetError, is_file
from model_store.data.targets import target_position

Purpose = Literal["training", "evaluation"]
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the dataset can't be used for these purposes, and the remedy."""

    purposes: tuple[Purpose, ...]
    text: str


def require(dataset: Dataset, *purposes: Purpose) -> None:
    """
    Raises:
        DatasetError: the dataset can't be used for one of `purposes`.
    """
    found = [fault.text for fault in faults(dataset) if set(fault.purposes) & set(purposes)]
    if found:
        raise DatasetError("; ".join(found))


def faults(dataset: Dataset) -> list[Fault]:
    """All faults; empty if the dataset can be trained and evaluated on."""
    broken = list(_unusable(dataset))
    return broken or [*_missing_pictures(dataset), *_too_few_users(dataset)]


def missing_pictures(dataset: Dataset) -> list[str]:
    """The items whose `image` names a file that does not exist."""
    return [item.item_id for item in dataset.items.values() if item.image is not None and not is_file(item.image)]


def listed(ids: list[str]) -> str:
    """The first ids, for people."""
    more = f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more


def _unusable(dataset: Dataset) -> Iterator[Fault]:
    events = [event for history in dataset.histories.values() for event in history]
    if not dataset.items:
        yield _both("the catalogue is empty: items.jsonl needs one item a line")
    elif not events:
        yield _both("there are no interactions, or only exposures: interactions.csv needs one interaction a line")
    elif not any(event.item_id in dataset.items for event in events):
        yield _both(
            f"no interaction is with an item of the catalogue: interactions.csv names items such as "
            f"{events[0].item_id!r}, items.jsonl such as {next(iter(dataset.items))!r}; use the same ids in both"
        )
    elif not any(event.liked for event in events):
        types = ", ".join(f"{kind} ({count:,})" for kind, count in Counter(e.type for e in events).most_common(_SHOWN))
        yield _both(
            f"no interaction is positive; the types are {types}: say what they mean with TASTESTREAM_SIGNALS__POSITIVE "
            "or, for a rating, TASTESTREAM_SIGNALS__VALUES"
        )
    elif len(dataset.histories) == 1:
        yield _both("all interactions are of one user: others are needed to learn from and to evaluate on")


def _missing_pictures(dataset: Dataset) -> Iterator[Fault]:
    if missing := missing_pictures(dataset):
        yield _both(
            f"{len(missing):,} items name a picture that is not in {IMAGES}/ (items {listed(missing)}): put it there, "
            "or let tastestream data prepare remove the names"
        )


def _too_few_users(dataset: Dataset) -> Iterator[Fault]:
    if not _has_case(dataset, "train"):
        yield Fault(("training",), "no user of the train split liked a new item after a first interaction")
    if not _has_case(dataset, "test"):
        yield Fault(
            ("evaluation",),
            f"none of the {len(dataset.users('test')):,} test users liked a new item of the catalogue after a first "
            "interaction: there is nothing to evaluate on. One user in ten is a test user, by a hash of the id",
        )


def _has_case(dataset: Dataset, split: Literal["train", "test"]) -> bool:
    histories = (dataset.histories[user] for user in dataset.users(split))
    return any(target_position(history, dataset.items) is not None for history in histories)


def _both(text: str) -> Fault:
    return Fault(("training", "evaluation"), text)
