"""Progress of long work, on stderr: bars in a terminal, lines in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Report = Callable[[str, float, str], None]
"""Called with (stage, done in 0..1, a note)."""
_LINE_EVERY_S = 30.0


def quiet(stage: str, done: float, note: str) -> None:
    """A `Report` that shows nothing."""


@contextmanager
def stages() -> Iterator[Report]:
    """One bar per stage, from its first report on; without a terminal a line each half minute."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    bars = Progress(
        *columns,
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=console,
        # In a terminal other output is printed above the bars; if stdout is redirected, it stays there.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bars as progress:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: float, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=1.0, note="")
            progress.update(tasks[stage], completed=done, note=escape(note))

        yield report


def _lines(console: Console) -> Report:
    started = time.monotonic()
    last: dict[str, float] = {}
    finished: dict[str, str] = {}
    """The note with which a stage was at its end. It may begin anew, and end with another one."""

    def report(stage: str, done: float, note: str = "") -> None:
        now = time.monotonic()
        ended = done >= 1 and finished.get(stage) != note
        if ended or (done < 1 and now - last.get(stage, float("-inf")) > _LINE_EVERY_S):
            last[stage] = now
            if done >= 1:
                finished[stage] = note
            line = f"{now - started:.0f} s  {stage} {100 * done:.0f} %  {note}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    return report
