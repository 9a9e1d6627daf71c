"""`tastestream data check`."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from model_store.data.check import listed
from model_store.data.statistics.interactions import InteractionStatistics
from model_store.data.statistics.items import ItemStatistics
from model_store.data.statistics.leaks import Leaks
from model_store.data.statistics.report import CheckReport, check_folder
from model_store.progress import stages
from model_store.signals import Signals
from service.cli.options import DatasetArgument
from service.cli.terminal import err, out, print_table, printable, say, settings_or_exit

PLOT = "check.png"
Row = tuple[str, str]


def check(
    folder: DatasetArgument,
    plot: Annotated[
        Path | None, typer.Option(help="The file for the plots.", show_default=f"{PLOT} in the dataset folder")
    ] = None,
    skip_pictures: Annotated[
        bool, typer.Option("--skip-pictures", help="Only look whether pictures are there, do not decode them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show what is in a dataset, and what is wrong with it, before a model is trained on it for hours.

    Counts, sequence lengths, what the types of interactions mean, popularity, times, missing texts and pictures,
    duplicates, and leaks between the splits; as tables and, if matplotlib is installed, as plots. The exit status is 1
    if the dataset can't be trained or evaluated on. `TASTESTREAM_SIGNALS__*` say what types of interactions mean.

    Example:

        tastestream data check movielens
    """
    signals = Signals(settings_or_exit().signals.vocabulary())
    with stages() as progress:
        report = check_folder(folder, signals, read_pictures=not skip_pictures, progress=progress)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        _print(report)
        _plot(report, plot or folder / PLOT)
    raise typer.Exit(1 if report.errors else 0)


def _print(report: CheckReport) -> None:
    for title, rows in (
        ("items", _items(report.items)),
        ("interactions", _interactions(report.interactions)),
        ("test targets", _leaks(report.leaks)),
    ):
        out.print(f"[bold]{title}[/]")
        print_table([(f"  {name}", value) for name, value in rows])
    _print_types(report.interactions)
    _print_splits(report.interactions)
    for text in report.warnings:
        out.print(f"[yellow]warning:[/] {escape(printable(text))}", highlight=False, soft_wrap=True)
    for text in report.errors:
        out.print(f"[red]error:[/] {escape(printable(text))}", highlight=False, soft_wrap=True)
    if not report.errors:
        say("the dataset can be trained and evaluated on")


def _items(items: ItemStatistics) -> Iterator[Row]:
    def share(count: int) -> str:
        return f"{count:,} ({count / max(1, items.items):.0%})"

    yield "number", f"{items.items:,}"
    yield "with a picture", share(items.with_picture)
    if items.missing:
        yield "pictures missing", f"{len(items.missing):,} (items {listed(items.missing)})"
    if items.pictures_read and items.with_picture:
        yield "pictures unreadable", f"{len(items.unreadable):,}"
    yield "with a description", share(items.with_description)
    yield "with genres or tags", share(items.with_terms)
    if items.with_caption:
        yield "with a caption", share(items.with_caption)
    yield "with a summary of a model", share(items.with_summary)
    yield "with the title of an earlier one", share(items.same_title)
    if items.pictures_read and items.with_picture:
        yield "with the picture of an earlier one", share(items.same_picture)


def _interactions(found: InteractionStatistics) -> Iterator[Row]:
    yield "number", f"{found.rows:,} of {found.users:,} users with {found.items:,} items"
    if found.users and found.items:
        yield "density", f"{found.rows / (found.users * found.items):.3%} of all pairs"
    if found.lengths is not None:
        yield "length of a history", str(found.lengths)
    popularity = found.popularity
    yield (
        "popularity",
        f"the top 1 % of the items have {popularity.top_1:.0%} of the interactions, the top 10 % have "
        f"{popularity.top_10:.0%}; Gini {popularity.gini:.2f}; {popularity.never:,} items have none",
    )
    yield "exact copies", f"{found.duplicates:,}"
    yield "with unknown items", f"{found.unknown:,}"
    if times := found.times:
        yield "from, to", f"{_moment(times.first, times.is_clock)}, {_moment(times.last, times.is_clock)}"
        yield "at the same moment as the one before", f"{times.ties:.1%}"
        yield "users whose rows are not in order", f"{times.users_out_of_order:,} (sorted when read)"


def _leaks(leaks: Leaks) -> Iterator[Row]:
    yield "number", f"{leaks.cases:,}: each test user's last liked item that is new to the user"
    yield "users who are copies of other splits' users", f"{leaks.duplicate_users:,}"
    yield "users whose last liked item was met before", f"{leaks.repeated:,} (an earlier item is the target)"
    yield "that look like an item met before", f"{leaks.look_alikes:,}"
    yield "that no training user met (cold)", f"{leaks.cold:,}"
    if leaks.later is not None:
        yield "training interactions later than a target", f"{leaks.later:.0%} on average"


def _print_types(found: InteractionStatistics) -> None:
    rows = (
        (
            kind,
            f"{count.total:,}",
            *_shares(count.total, count.positive, count.negative, count.neutral, count.exposures),
        )
        for kind, count in found.types.items()
    )
    print_table(rows, "type", "interactions", "positive", "negative", "neutral", "exposures")


def _print_splits(found: InteractionStatistics) -> None:
    rows = (
        (split, f"{count.users:,}", f"{count.interactions:,}", f"{count.cases:,}")
        for split, count in found.splits.items()
    )
    print_table(rows, "split", "users", "interactions", "users with a target")


def _shares(total: int, *counts: int) -> list[str]:
    return [f"{count / total:.0%}" if count else "-" for count in counts]


def _moment(seconds: float, is_clock: bool) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}" if is_clock else f"{seconds:g}"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"


def _plot(report: CheckReport, file: Path) -> None:
    try:
        from model_store.data.statistics.plots import plot
    except ImportError:
        err.print("for plots install the extra `evaluate`: pip install 'tastestream[evaluate]'", markup=False)
        return
    try:
        plot(report, file)
    except OSError as error:
        reason = error.strerror or error
        err.print(f"{file} can't be written ({reason}): name another file with --plot", markup=False, soft_wrap=True)
        return
    say(f"plots: {file}")
