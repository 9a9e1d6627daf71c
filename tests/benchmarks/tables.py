"""What a benchmark found, on the console and in a document."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.benchmarks import machine
from tests.benchmarks.document import command_line, replace_block

Markdown = Annotated[
    Path | None, typer.Option(help="Also write the tables to this document, in place of those of the same command.")
]
console = Console()
if not console.is_terminal:
    console = Console(width=140)


class Findings:
    """Prints as it goes; `save` then writes everything to the document `markdown`, if one is given."""

    def __init__(self, title: str, markdown: Path | None, aof: str = "AOF, fsync each second") -> None:
        self._markdown = markdown
        self._written: list[str] = []
        console.rule(title, align="left")
        self.say(machine.describe(aof))

    def say(self, line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
        self._written.append(line)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The first column is text, the others are figures."""
        shown = Table(box=None, pad_edge=False)
        for index, column in enumerate(columns):
            shown.add_column(column, justify="right" if index else "left")
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
        marks = ["---", *["---:"] * (len(columns) - 1)]
        self._written.append("\n".join(f"| {' | '.join(row)} |" for row in (columns, marks, *rows)))

    def save(self) -> None:
        """Write to the document, now that nothing can fail any more: an aborted run changes nothing in it."""
        if self._markdown is not None:
            document = self._markdown.read_text() if self._markdown.exists() else ""
            self._markdown.write_text(replace_block(document, command_line(), "\n\n".join(self._written)))


def bar() -> Progress:
    """A progress bar that is gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True)


def ranged(values: Sequence[float], digits: int = 0) -> str:
    """The median and the range."""
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} .. {max(values):,.{digits}f})"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]
