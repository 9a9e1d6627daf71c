"""What the commands share: the consoles, the settings, and text that is fit for a terminal."""

import asyncio
import os

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.markup import escape

from service.settings import PREFIX, Settings

_PIPED_COLUMNS = 200
"""A table that no terminal shows is cut to this width, unless COLUMNS says otherwise."""


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(stderr=stderr, width=_PIPED_COLUMNS)


out, err = _console(), _console(stderr=True)


def settings_or_exit() -> Settings:
    """Read the settings; on a wrong one, name it and its remedy and exit with 2."""
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
    """`text` without anything that a terminal may obey: what is not printable stands as its escape."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def say(text: str) -> None:
    """Print one line, cleaned, without markup."""
    out.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def heed_interrupt() -> None:
    """Raise CancelledError after a Ctrl-C. Loops ask, because Python 3.11's `wait_for` may swallow the first one."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def confirm(question: str, yes: bool) -> None:
    """Ask, unless the answer was given with the command; ends the command when it is no."""
    if not yes:
        typer.confirm(printable(question), abort=True, err=True)
