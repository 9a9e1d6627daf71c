"""The operator's commands on the state, as `tastestream` offers them."""

import asyncio
from typing import Annotated

import typer

from service.local.terminal import settings_or_exit

dead_letters_app = typer.Typer(
    no_args_is_help=True,
    help="What could not be worked, and why: list it, try it again, or drop it.",
)

Ids = Annotated[list[str] | None, typer.Argument(help="Ids as `list` shows them.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All dead letters, or those that the other options choose.")]
User = Annotated[str | None, typer.Option(help="Only those of this user.", show_default=False)]
Item = Annotated[str | None, typer.Option(help="Only those of this item.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Only those with this reason.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]


@dead_letters_app.command("list")
def list_command(
    user: User = None,
    item: Item = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(help="How many to show, the oldest first.", min=1)] = 50,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON each, with the whole events.")] = False,
) -> None:
    """Show the dead letters, oldest first: which user or item, why, and how many events."""
    from service.local.dead_letters import Which, list_letters

    asyncio.run(list_letters(settings_or_exit(), Which(user, item, reason), limit, as_json=json))


@dead_letters_app.command("retry")
def retry_command(
    ids: Ids = None, everything: All = False, user: User = None, item: Item = None, reason: Reason = None
) -> None:
    """Put dead letters back to work, when what was wrong has been mended.

    The events of a user go behind those that wait, and are folded by the workers. Ends with 1 when
    a letter was not found, or its user's backlog is full: then it stays a dead letter.
    """
    from service.local.dead_letters import Which, retry_letters

    failed = asyncio.run(retry_letters(settings_or_exit(), ids or [], everything, Which(user, item, reason)))
    raise typer.Exit(1 if failed else 0)


@dead_letters_app.command("drop")
def drop_command(
    ids: Ids = None,
    everything: All = False,
    user: User = None,
    item: Item = None,
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """Remove dead letters for good: their events will not be in a summary, and their items stay undescribed."""
    from service.local.dead_letters import Which, drop_letters

    which = Which(user, item, reason)
    missing = asyncio.run(drop_letters(settings_or_exit(), ids or [], everything, which, yes=yes))
    raise typer.Exit(1 if missing else 0)
