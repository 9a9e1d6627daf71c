"""`tastestream data import`: data in a well-known layout becomes a dataset folder, which `train` and `replay` read."""

import csv
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from model_store.data.dataset import IMAGES, INTERACTIONS, ITEMS
from model_store.data.importers import InteractionRow, Layout, Rejected, find_layout
from model_store.data.text_files import DataFileError
from model_store.progress import Report, stages
from service.cli.sorted_runs import SortedRuns
from service.cli.staging import staged

COLUMNS = ("user_id", "item_id", "timestamp", "rating", "type")
SHOWN = 20
"""Rejected rows that are shown."""
_EVERY = 10_000


@dataclass(slots=True)
class Imported:
    """What was written, and the rows that were not."""

    items: int = 0
    duplicates: int = 0
    pictures: int = 0
    users: int = 0
    interactions: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first: list[Rejected] = field(default_factory=list)

    def reject(self, row: Rejected) -> None:
        self.rejected[row.file] += 1
        if len(self.first) < SHOWN:
            self.first.append(row)


def data_import(source: Path, folder: Path, layout: str | None, *, force: bool, console: Console) -> int:
    """Write the data at `source` to the dataset folder `folder`, and print what became of its rows.

    Returns:
        The exit status: 0 when all rows were used, 1 when some were rejected.

    Raises:
        UserError: the source can't be read or is of no known layout, or the folder can't be written; it is then as it
            was.
    """
    name, found = find_layout(source, layout)
    imported = Imported()
    with stages() as report, staged(folder, force=force) as staging:
        _write_items(source, found, staging, imported, report)
        if found.interactions is not None:
            _write_interactions(source, found, staging, imported, report)
    _conclude(name, folder, imported, console)
    return 1 if imported.rejected else 0


def _write_items(source: Path, layout: Layout, staging: Path, imported: Imported, report: Report) -> None:
    images, known = layout.images(source), set[str]()
    (staging / IMAGES).mkdir()
    with (staging / ITEMS).open("wb") as lines:
        for number, row in enumerate(layout.items(source), 1):
            if isinstance(row, Rejected):
                imported.reject(row)
            elif row["item_id"] in known:
                imported.duplicates += 1
            else:
                known.add(row["item_id"])
                if "image" in row and not _copy(images, row["image"], staging / IMAGES):
                    del row["image"]
                imported.pictures += "image" in row
                imported.items += 1
                lines.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            if number % _EVERY == 0:
                report("items", 0.0, f"{number:,} read")
    report("items", 1.0, f"{imported.items:,} items")
    if not imported.items:
        raise DataFileError(f"{source} holds no item that can be used; {_first_reason(imported)}")


def _copy(images: Path | None, name: str, folder: Path) -> bool:
    """Copy a picture; False when there is none of that name in `images`."""
    if images is None:
        return False
    picture = (images / name).resolve()
    if not picture.is_relative_to(images.resolve()) or not picture.is_file():
        return False
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(picture, target)
    return True


def _write_interactions(source: Path, layout: Layout, staging: Path, imported: Imported, report: Report) -> None:
    assert layout.interactions is not None  # noqa: S101 - the caller has looked
    scratch = staging / "runs"
    scratch.mkdir()
    runs = SortedRuns(scratch)
    for number, row in enumerate(layout.interactions(source), 1):
        if isinstance(row, InteractionRow):
            # The place in the file keeps interactions of the same time in their order.
            runs.add([row.user_id, row.timestamp, number, row.item_id, row.rating, row.type])
            imported.interactions += 1
        else:
            imported.reject(row)
        if number % _EVERY == 0:
            report("interactions", 0.0, f"{number:,} read")
    with (staging / INTERACTIONS).open("w", encoding="utf-8", newline="") as lines:
        writer, before = csv.writer(lines), None
        writer.writerow(COLUMNS)
        for user_id, timestamp, _, item_id, rating, kind in runs.merged():
            imported.users += user_id != before
            before = user_id
            writer.writerow((user_id, item_id, f"{timestamp:.3f}".rstrip("0").rstrip("."), rating, kind))
    report("interactions", 1.0, f"{imported.interactions:,} interactions")


def _first_reason(imported: Imported) -> str:
    if not imported.first:
        return "it is empty"
    row = imported.first[0]
    return f"{row.file}, line {row.line}: {row.reason}"


def _conclude(layout: str, folder: Path, imported: Imported, console: Console) -> None:
    table = Table("", "", box=None, show_header=False)
    table.add_row("layout", layout)
    table.add_row("items", f"{imported.items:,}, {imported.pictures:,} of them with a picture")
    if imported.duplicates:
        table.add_row("duplicate items", f"{imported.duplicates:,}, left out")
    table.add_row("interactions", f"{imported.interactions:,} of {imported.users:,} users")
    for file, count in imported.rejected.items():
        table.add_row("rejected", f"{count:,} rows of {file}")
    console.print(table, highlight=False)
    if imported.first:
        reasons = Table("file", "line", "reason", box=None)
        for row in imported.first:
            # Texts of a stranger's file: not to be read as markup.
            reasons.add_row(Text(row.file), f"{row.line:,}", Text(row.reason))
        console.print(reasons)
    console.print(f"written to {folder}", markup=False, highlight=False, soft_wrap=True)
