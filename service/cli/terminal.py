"""What the commands share: consoles, settings, and safe output."""

import asyncio
import os

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.markup import escape

from service.settings import PREFIX, Settings

_PIPED_COLUMNS = 200
"""The width of tables that are not written to a terminal, unless COLUMNS is set."""


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(stderr=stderr, width=_PIPED_COLUMNS)


out, err = _console(), _console(stderr=True)


def settings_or_exit() -> Settings:
    """Read the settings. If one is invalid, name it and how to fix it, and exit with status 2."""
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors():
            path = "__".join(str(part).upper() for part in problem["loc"])
            name = f"{PREFIX}{path}: " if path else ""
            err.print(
                f"[red]error:[/] {escape(name)}{escape(problem['msg'].removeprefix('Value error, '))}", soft_wrap=True
            )
        raise typer.Exit(2) from None
    except SettingsError as error:
        err.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None


def printable(text: str) -> str:
    """`text` with everything that is not printable escaped, so that it can't control a terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def say(text: str) -> None:
    """Print one line, escaped and without markup."""
    out.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def heed_interrupt() -> None:
    """Raise CancelledError after a Ctrl-C. For loops, since `wait_for` of Python 3.11 may swallow the first one."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def confirm(question: str, yes: bool) -> None:
    """Ask for confirmation unless `yes`, and end the command if the answer is no."""
    if not yes:
        typer.confirm(printable(question), abort=True, err=True)
