"""`tastestream data`: datasets for training and replay."""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from model_store.data import importers
from model_store.data.dataset import IMAGES, ITEMS, item_line, picture_file, write_interactions
from model_store.data.importers import find_layout
from model_store.data.rows import InteractionRow, Rejected
from model_store.data.text_files import DataFileError
from model_store.progress import Report, stages
from service.cli.data_check import check
from service.cli.data_hide import hide_items
from service.cli.data_pictures import pictures
from service.cli.data_prepare import prepare
from service.cli.data_stages import describe, summarize
from service.cli.dataset_files import new_dataset, require_apart
from service.cli.options import Layout
from service.cli.terminal import print_table, say

app = typer.Typer(no_args_is_help=True, help="Import, check and prepare datasets.")
for command in (pictures, check, prepare, hide_items, describe, summarize):
    app.command()(command)

_SHOWN = 20
_REPORT_EVERY = 10_000


@app.command("import")
def import_data(
    source: Annotated[Path, typer.Argument(help="A file or a folder, as downloaded and unpacked.")],
    folder: Annotated[Path, typer.Argument(help="The dataset folder to write.")],
    layout: Layout = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset in the folder.")] = False,
) -> None:
    """Convert data from another layout to a dataset folder, which `train` and `replay` read.

    Layouts: `tables` are items.csv and interactions.csv (or .tsv) whose columns have common names. `movielens` is any
    release of MovieLens. `amazon-2023` is meta_CATEGORY.jsonl with CATEGORY.jsonl or CATEGORY.csv. `microlens` is
    pairs, titles and covers. `product-feed` is a Google Merchant feed (TSV or XML), which has items only. Files may be
    compressed with gzip and of any common encoding. Rejected rows are listed with line and reason, and the exit status
    is then 1.

    Example:

        tastestream data import ml-latest-small movielens
    """
    name, found = find_layout(source, layout)
    require_apart(source, folder)
    imported = _Imported()
    with stages() as report, new_dataset(folder, force=force) as partial:
        _write_items(source, found, partial, imported, report)
        imported.last = None
        if found.interactions is not None:
            imported.users = write_interactions(partial, _interactions(found.interactions(source), imported, report))
            if not imported.interactions:
                raise DataFileError(f"{source} has no valid interaction; {imported.reason}")
            report("interactions", 1.0, f"{imported.interactions:,} interactions")
    _print_summary(name, folder, imported)
    raise typer.Exit(1 if imported.rejected else 0)


@dataclass(slots=True)
class _Imported:
    """What was written, and the rejected rows."""

    items: int = 0
    duplicates: int = 0
    pictures: int = 0
    urls: int = 0
    users: int = 0
    interactions: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first: list[Rejected] = field(default_factory=list)
    last: Rejected | None = None

    @property
    def reason(self) -> str:
        """Why there is no other row than rejected ones."""
        row = self.last
        return "it is empty" if row is None else f"{row.file}, line {row.line}: {row.reason}"

    def reject(self, row: Rejected) -> None:
        self.rejected[row.file] += 1
        self.last = row
        if len(self.first) < _SHOWN:
            self.first.append(row)


def _write_items(source: Path, layout: importers.Layout, partial: Path, imported: _Imported, report: Report) -> None:
    images, known = layout.images(source), set[str]()
    (partial / IMAGES).mkdir()
    with (partial / ITEMS).open("w", encoding="ascii") as lines:
        for number, row in enumerate(layout.items(source), 1):
            if isinstance(row, Rejected):
                imported.reject(row)
            elif row["item_id"] in known:
                imported.duplicates += 1
            else:
                known.add(row["item_id"])
                if "image" in row and not _copy(images, row["image"], partial / IMAGES):
                    del row["image"]
                imported.pictures += "image" in row
                imported.urls += "image" not in row and "image_url" in row
                imported.items += 1
                lines.write(item_line(row))
            if number % _REPORT_EVERY == 0:
                report("items", 0.0, f"{number:,} read")
    report("items", 1.0, f"{imported.items:,} items")
    if not imported.items:
        raise DataFileError(f"{source} has no valid item; {imported.reason}")


def _copy(images: Path | None, name: str, folder: Path) -> bool:
    """Copy a picture. False if `images` has no picture of that name."""
    picture = None if images is None else picture_file(images, name)
    if picture is None:
        return False
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(picture, target)
    return True


def _interactions(
    rows: Iterator[InteractionRow | Rejected], imported: _Imported, report: Report
) -> Iterator[InteractionRow]:
    for number, row in enumerate(rows, 1):
        if isinstance(row, InteractionRow):
            imported.interactions += 1
            yield row
        else:
            imported.reject(row)
        if number % _REPORT_EVERY == 0:
            report("interactions", 0.0, f"{number:,} read")


def _print_summary(layout: str, folder: Path, imported: _Imported) -> None:
    facts = [("layout", layout), ("items", f"{imported.items:,}, {imported.pictures:,} of them with a picture")]
    if imported.duplicates:
        facts.append(("duplicate items", f"{imported.duplicates:,}, left out"))
    facts.append(("interactions", f"{imported.interactions:,} of {imported.users:,} users"))
    facts += [("rejected", f"{count:,} rows of {file}") for file, count in imported.rejected.items()]
    print_table(facts)
    if imported.first:
        print_table(((row.file, f"{row.line:,}", row.reason) for row in imported.first), "file", "line", "reason")
    say(f"written to {folder}")
    if imported.urls:
        say(f"{imported.urls:,} items name a picture by its URL; download them: tastestream data pictures {folder}")
    say(f"look at it: tastestream data check {folder}")
