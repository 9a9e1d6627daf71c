"""The operator's commands on the state, as `tastestream` offers them."""

import asyncio
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from service.cli.terminal import settings_or_exit
from service.http.times import now_ms, parse_time

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


def _time(text: str) -> int:
    """Milliseconds since the epoch of a date (its midnight in UTC), an RFC 3339 time, or Unix seconds."""
    given = f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text
    try:
        return parse_time(float(given) if re.fullmatch(r"\d+(\.\d+)?", given) else given, now_ms())
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}") from error


Since = Annotated[
    int | None,
    typer.Option(parser=_time, metavar="TIME", help="Only what happened at this time or later.", show_default=False),
]
Until = Annotated[
    int | None,
    typer.Option(parser=_time, metavar="TIME", help="Only what happened before this time.", show_default=False),
]


@dead_letters_app.command("list")
def list_command(
    user: User = None,
    item: Item = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(help="How many to show, the oldest first.", min=1)] = 50,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON each, with the whole events.")] = False,
) -> None:
    """Show the dead letters, oldest first: which user or item, why, and how many events."""
    from service.cli.dead_letters import Which, list_letters

    asyncio.run(list_letters(settings_or_exit(), Which(user, item, reason), limit, as_json=json))


@dead_letters_app.command("retry")
def retry_command(
    ids: Ids = None, everything: All = False, user: User = None, item: Item = None, reason: Reason = None
) -> None:
    """Put dead letters back to work, when what was wrong has been mended.

    The events of a user go behind those that wait, and are folded by the workers. Ends with 1 when
    a letter was not found, or its user's backlog is full: then it stays a dead letter.
    """
    from service.cli.dead_letters import Which, retry_letters

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
    from service.cli.dead_letters import Which, drop_letters

    which = Which(user, item, reason)
    missing = asyncio.run(drop_letters(settings_or_exit(), ids or [], everything, which, yes=yes))
    raise typer.Exit(1 if missing else 0)


def rebuild_summaries(
    user: Annotated[list[str] | None, typer.Option(help="Only this user; may be given several times.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also users whose first events have left the log, or with too many.")
    ] = False,
    waiting: Annotated[
        int, typer.Option(help="Add users while fewer events than this wait to be folded.", min=1)
    ] = 5000,
    from_bucket: Annotated[int, typer.Option(help="Where an interrupted run goes on.", min=0)] = 0,
    yes: Yes = False,
) -> None:
    """Write summaries anew from the event log, with the model that the workers serve now.

    For use after a new summarizer was promoted and the workers restarted. Each user is taken in one
    atomic step: its logged events wait to be folded again, beginning with an empty summary; events that
    arrive meanwhile join them. Until the first new fold, recommendations use the old text. Dead letters
    of the user are taken up. A user whose first events have left the log keeps its summary, unless
    `--partial` is given. Interrupting it, or running it twice, loses and repeats nothing.
    """
    from service.cli.summaries import rebuild_command

    settings = settings_or_exit()
    work = rebuild_command(settings, user or [], partial=partial, waiting=waiting, start=from_bucket, yes=yes)
    asyncio.run(work)


def erase(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    rewrite_aof: Annotated[
        bool, typer.Option("--rewrite-aof", help="Also rewrite Redis's append-only files, and wait for it.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Forget everything of a user, as `DELETE /users/USER` does, and say what there was.

    Redis keeps what was erased in its append-only file until that is rewritten, which it does by itself
    when the file has doubled; `--rewrite-aof` does it now, on every server of a cluster. Backups and
    exported datasets are yours to clean.
    """
    from service.cli.users import erase_command

    asyncio.run(erase_command(settings_or_exit(), user, rewrite=rewrite_aof, yes=yes))


def export(
    folder: Annotated[Path | None, typer.Argument(help="The dataset folder to write.", show_default=False)] = None,
    events: Annotated[
        Path | None,
        typer.Option(help="Instead: a file of the whole events, to be posted to /events again.", show_default=False),
    ] = None,
    since: Since = None,
    until: Until = None,
    events_only: Annotated[bool, typer.Option("--events-only", help="Leave the catalogue out.")] = False,
    no_images: Annotated[bool, typer.Option("--no-images", help="Leave the pictures out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset, or the file, that is there.")] = False,
) -> None:
    """Write the event log and the catalogue as a dataset folder, which `train` and `replay` read.

    TIME is a date, an RFC 3339 time or Unix seconds. The log is bounded (`TASTESTREAM_STATE__LOG_EVENTS`,
    `__LOG_S`): what is older has left it. An event of the type `rating` becomes a row with that rating, any
    other a row with its type. A folder that is not empty is refused; an export that is interrupted leaves nothing.
    """
    from service.cli.events import Span, export_dataset, export_events

    os.umask(0o077)
    settings, span = settings_or_exit(), Span(since, until)
    if (folder is None) == (events is None):
        raise typer.BadParameter("name the dataset folder to write, or give --events FILE")
    if events is not None:
        asyncio.run(export_events(settings, events, span, force=force))
    elif folder is not None:
        asyncio.run(
            export_dataset(settings, folder, span, catalogue=not events_only, images=not no_images, force=force)
        )
