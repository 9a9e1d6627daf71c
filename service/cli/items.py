"""`tastestream import-items`, with its progress bar and its summary."""

import asyncio
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from model_store.progress import stages
from service.cli.terminal import err
from service.client.catalogue import ImportOptions, import_items
from service.client.checkpoint import Tally
from service.client.client import ServiceError
from service.client.source import Source
from service.settings import PREFIX

_UNAUTHORIZED = 401


def import_command(
    source: Path, url: str, folder: Path, options: ImportOptions, console: Console, *, layout: str | None = None
) -> int:
    """Import and print what became of the lines.

    Returns:
        The exit status: 0 when all were stored, 1 when some were rejected, 130 after Ctrl-C.

    Raises:
        ServiceError: the service can't be reached or refused a call; the message says how to go on.
        UserError: the source can't be read, or a checkpoint can't be written.
    """
    given = Source(source, layout)
    if given.note:
        err.print(given.note, markup=False, highlight=False, soft_wrap=True)
    seen = _Seen(given.size)
    try:
        with stages() as report:

            def told(tally: Tally) -> None:
                if tally.line and not seen.begun:
                    err.print(_going_on(tally), highlight=False, soft_wrap=True)
                report("importing items", *seen.at(tally))

            tally = asyncio.run(import_items(given, url, folder, options, told))
    except KeyboardInterrupt:
        err.print(f"stopped at line {seen.line:,}. {_how_to_go_on()}", highlight=False, soft_wrap=True)
        return 130
    except ServiceError as error:
        hint = f" Set {PREFIX}API_KEY to one of its keys." if error.status == _UNAUTHORIZED else ""
        stopped = f" Stopped at line {seen.line:,}. {_how_to_go_on()}" if seen.line else ""
        message = f"{str(error).rstrip('.')}.{hint}{stopped}"
        raise ServiceError(message, status=error.status, problem=error.problem) from error
    _print_summary(tally, options, seen, console)
    return 1 if tally.rejected else 0


class _Seen:
    """What the last report said, and how fast it goes in this run."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._started = time.monotonic()
        self._before: int | None = None
        self.line = 0
        self.stored = 0

    def at(self, tally: Tally) -> tuple[float, str]:
        """(done in 0..1, a note)."""
        if self._before is None:
            self._before = tally.stored
        self.line, self.stored = tally.line, tally.stored - self._before
        note = f"{tally.stored:,} stored, {tally.rejected:,} rejected, {self.stored / self.seconds:,.0f} items/s"
        return (tally.offset / self._size if self._size else 1.0), note

    @property
    def begun(self) -> bool:
        return self._before is not None

    @property
    def seconds(self) -> float:
        return max(1e-3, time.monotonic() - self._started)


def _going_on(tally: Tally) -> str:
    return f"going on behind line {tally.line:,}, where an earlier run stopped; --restart begins anew"


def _how_to_go_on() -> str:
    return "Run the same command again to go on from there; --restart begins anew."


def _print_summary(tally: Tally, options: ImportOptions, seen: _Seen, console: Console) -> None:
    said = [f"stored {tally.stored:,} items"]
    if tally.duplicates:
        said.append(f"{tally.duplicates:,} lines were replaced by later ones of the same item")
    said += [f"rejected {tally.rejected:,}", f"pictures refused {tally.pictures_refused:,}"]
    if tally.pictures_pending:
        said.append(f"pictures that the workers still fetch {tally.pictures_pending:,}")
    rate = f"({seen.stored / seen.seconds:,.0f} items/s)"
    console.print(f"{', '.join(said)} {rate}", highlight=False, soft_wrap=True)
    if not tally.first:
        return
    table = Table("line", "item", "code", "reason", box=None)
    for one in tally.first:
        # Texts of a stranger's file: not to be read as markup.
        table.add_row(f"{one.line:,}", Text(one.item_id), Text(one.code), Text(one.detail))
    console.print(table)
    more = tally.rejected + tally.pictures_refused - len(tally.first)
    if options.rejects is not None:
        console.print(f"all of them: {options.rejects}", markup=False, highlight=False, soft_wrap=True)
    elif more:
        console.print(f"and {more:,} more; --rejects FILE writes all of them", highlight=False)
