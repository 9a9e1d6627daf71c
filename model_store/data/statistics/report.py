"""The whole check of a dataset folder: its figures, what is wrong, and what is doubtful."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model_store.data.check import Fault, faults, listed
from model_store.data.dataset import Dataset, histories, interaction_rows, item_rows, read_items
from model_store.data.rows import InteractionRow
from model_store.data.statistics.interactions import InteractionStatistics, interaction_statistics
from model_store.data.statistics.items import ItemStatistics, item_statistics
from model_store.data.statistics.leaks import Leaks, find_leaks
from model_store.progress import Report, quiet
from model_store.signals import Signals

_MANY = 0.01
_MANY_TIES = 0.1
_FEW_CASES = 100


@dataclass(frozen=True)
class CheckReport:
    """`errors` keep the dataset from being used, `warnings` are what its user should know."""

    folder: Path
    dataset: Dataset = field(repr=False)
    rows: list[InteractionRow] = field(repr=False)
    items: ItemStatistics
    interactions: InteractionStatistics
    leaks: Leaks
    errors: list[str]
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the data itself, for JSON."""
        items, leaks = asdict(self.items), asdict(self.leaks)
        del items["alike"]
        found = {"errors": self.errors, "warnings": self.warnings}
        return {"items": items, "interactions": asdict(self.interactions), "leaks": leaks, **found}


def check_folder(
    folder: Path, signals: Signals, *, read_pictures: bool = True, progress: Report = quiet
) -> CheckReport:
    """
    Raises:
        DatasetError: a file is missing, or a line is malformed.
    """
    progress("reading", 0.0, "")
    rows = list(interaction_rows(folder))
    dataset = Dataset(read_items(folder), histories(rows, signals))
    progress("reading", 1.0, "")
    lines = sum(1 for _ in item_rows(folder))
    items = item_statistics(
        dataset, lines, read_pictures=read_pictures, progress=lambda done: progress("pictures", done, "")
    )
    interactions = interaction_statistics(rows, dataset, signals)
    is_clock = interactions.times is not None and interactions.times.is_clock
    leaks = find_leaks(dataset, items.alike, is_clock=is_clock)
    found = [fault.text for fault in [*faults(dataset), *_unreadable(items)]]
    warnings = [*_of_items(items), *_of_interactions(interactions), *_of_leaks(leaks)]
    return CheckReport(folder, dataset, rows, items, interactions, leaks, found, warnings)


def _unreadable(items: ItemStatistics) -> Iterator[Fault]:
    if items.unreadable:
        item_id, reason = next(iter(items.unreadable.items()))
        yield Fault(
            ("training", "evaluation"),
            f"{len(items.unreadable):,} pictures can't be read, such as that of item {item_id} ({reason}): replace "
            "them, or let tastestream data prepare remove their names",
        )


def _of_items(items: ItemStatistics) -> Iterator[str]:
    if items.items and not items.with_picture:
        yield (
            "no item has a picture: models learn from texts alone. tastestream data pictures downloads those that "
            "items name by image_url"
        )
    elif items.with_picture < items.items:
        yield f"{items.items - items.with_picture:,} of {items.items:,} items have no picture"
    if items.repeated_ids:
        yield f"{items.repeated_ids:,} lines of items.jsonl have the id of another line; the last of them counts"
    if items.look_alikes > _MANY * items.items:
        yield f"{items.look_alikes:,} items have the title and the picture, if any, of an earlier one"


def _of_interactions(found: InteractionStatistics) -> Iterator[str]:
    yield from _of_types(found)
    if found.unknown:
        yield (
            f"{found.unknown:,} interactions ({found.unknown / found.rows:.1%}) are with items that the catalogue "
            f"lacks, such as {listed(found.unknown_ids)}: prompts show them as unknown"
        )
    if found.duplicates:
        yield f"{found.duplicates:,} rows of interactions.csv are exact copies of others; data prepare removes them"
    if found.times is not None:
        if not found.times.is_clock:
            yield (
                "timestamps are positions or day numbers, not clock times: the order inside a user's history is known, "
                "but not that of different users, so a split by time would mean nothing"
            )
        if found.times.ties > _MANY_TIES:
            yield (
                f"{found.times.ties:.0%} of the interactions happen at the same moment as the user's one before: the "
                "order among those is that of the file, and a sequence learned from it means little"
            )
        if found.times.future:
            yield f"{found.times.future:,} interactions lie in the future: check the unit and the clock of their source"
    cases = found.splits["test"].cases
    if 0 < cases < _FEW_CASES:
        yield f"only {cases:,} test users can be evaluated: the intervals of all figures will be wide"
    if found.splits["train"].cases and not found.splits["validation"].cases:
        yield "no validation user liked a new item after a first interaction: the blend can't be fitted"


def _of_types(found: InteractionStatistics) -> Iterator[str]:
    if unknown := [kind for kind, count in found.types.items() if not count.is_known]:
        yield (
            f"the types {listed(unknown)} are unknown, so that they count as neutral: say what they mean with "
            "TASTESTREAM_SIGNALS__POSITIVE, __NEGATIVE, __NEUTRAL or __EXPOSURES"
        )
    for kind, count in found.types.items():
        if count.scale is not None and count.highest is not None and count.highest > count.scale:
            yield (
                f"{kind} reaches {count.highest:g}, on a scale that ends at {count.scale:g}: set the rule of "
                "your scale with TASTESTREAM_SIGNALS__VALUES"
            )


def _of_leaks(leaks: Leaks) -> Iterator[str]:
    if leaks.duplicate_users:
        yield (
            f"leak: {leaks.duplicate_users:,} test users have exactly the history of a user of another split; training "
            "sees their targets. data prepare removes the copies"
        )
    if leaks.look_alikes:
        yield (
            f"leak: the targets of {leaks.look_alikes:,} test users look like an item they met before (same title, "
            "same or no picture): a model may recognize it"
        )
    if leaks.later is not None and leaks.later > _MANY:
        yield (
            f"on average {leaks.later:.0%} of the training interactions are later than a target: the split is by user, "
            "so models know what others did afterwards. data prepare --split time makes a split without that"
        )
