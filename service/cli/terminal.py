"""What the commands share: consoles, settings, and safe output."""

import asyncio
import os
from collections.abc import Iterable, Sequence

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.settings import PREFIX, Settings

_PIPED_COLUMNS = 200
"""The width of tables that are not written to a terminal, unless COLUMNS is set."""


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPED_COLUMNS
    return console


out, err = _console(), _console(stderr=True)


def settings_or_exit() -> Settings:
    """Read the settings. If some are invalid, name each and how to fix it, and exit with status 2."""
    try:
        return Settings()
    except SettingsError as error:
        problems = [str(error)]
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            path = "__".join(str(part).upper() for part in problem["loc"] if part != "[key]")
            problems.append((f"{PREFIX}{path}: " if path else "") + problem["msg"].removeprefix("Value error, "))
    for text in problems:
        err.print(f"[red]error:[/] {escape(text)}", soft_wrap=True)
    raise typer.Exit(2)


def printable(text: str) -> str:
    """`text` with all unprintable characters escaped, so that it can't control a terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def say(text: str) -> None:
    """Print one line, escaped and without markup."""
    out.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def print_table(rows: Iterable[Sequence[str]], *headings: str) -> None:
    """Print a table, escaped and without markup."""
    table = Table(*headings, box=None, show_header=bool(headings))
    for row in rows:
        table.add_row(*map(printable, row))
    out.print(table, markup=False, highlight=False)


def raise_if_interrupted() -> None:
    """Raise CancelledError after a Ctrl-C. For loops, since `wait_for` of Python 3.11 may swallow the first one."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def confirm(question: str, yes: bool) -> None:
    """Ask for confirmation unless `yes`, and end the command if the answer is no."""
    if not yes:
        typer.confirm(printable(question), abort=True, err=True)
