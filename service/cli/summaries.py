"""`tastestream summaries`: the preference summaries of all users."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from model_store.errors import UserError
from model_store.progress import stages
from service.cli.audit import audited
from service.cli.options import Tenant, Yes
from service.cli.store import opened_store
from service.cli.terminal import confirm, say, settings_or_exit
from service.names import DEFAULT_TENANT
from service.settings import Settings

if TYPE_CHECKING:
    from service.cli.rebuilding import Progress

app = typer.Typer(no_args_is_help=True, help="Rebuild summaries from the event log.")

_SKIPPED = {
    "incomplete": "whose first events have left the log (--partial folds the rest)",
    "too_many": "with more events than may be pending (--partial folds the newest)",
    "nothing": "without events in the log",
}


@app.command()
def rebuild(
    user: Annotated[
        list[str] | None, typer.Option(help="Only this user. May be given several times.", show_default=False)
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also users whose first events have left the log, or with too many.")
    ] = False,
    outdated: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Only users whose summary was not written by this version, such as `NAME@2`.",
            show_default=False,
        ),
    ] = None,
    max_pending: Annotated[int, typer.Option(help="Pause while more events than this are pending.", min=1)] = 5000,
    from_bucket: Annotated[int, typer.Option(help="Where to resume an interrupted run.", min=0)] = 0,
    tenant: Tenant = DEFAULT_TENANT,
    yes: Yes = False,
) -> None:
    """Write summaries again from the event log, with the model that the workers use now.

    Run it after a new summarizer was promoted and the workers were restarted. For each user, in one atomic step, the
    logged events and dead letters become pending again and the next fold starts with an empty summary. Until then,
    recommendations use the old one. A user whose first events have left the log keeps the old summary unless
    `--partial` is given. Interrupting or repeating the command neither loses nor repeats an event.

    Example:

        tastestream summaries rebuild --yes
    """
    settings, users = settings_or_exit(), user or []
    bounds = {"max_pending": max_pending, "start": from_bucket}
    asyncio.run(_rebuild(settings, users, tenant, partial=partial, outdated=outdated, yes=yes, **bounds))


async def _rebuild(
    settings: Settings,
    users: Sequence[str],
    tenant: str,
    *,
    partial: bool,
    outdated: str | None,
    max_pending: int,
    start: int,
    yes: bool,
) -> None:
    from service.cli.rebuilding import Rebuild

    if not settings.state.event_log_size:
        raise UserError("there is no event log to rebuild from: TASTESTREAM_STATE__EVENT_LOG_SIZE is 0")
    only = dict.fromkeys(users).keys() if users else None
    # Half of the backlog at which gateways refuse events.
    bound = min(max_pending, settings.state.max_backlog // 2)
    async with opened_store(settings, tenant) as store:
        logged = await store.log.count()
        whose = "all users in the log" if only is None else f"{len(only):,} users"
        confirm(f"Fold the events of {whose} again? The log has {logged:,} events, and each needs the model.", yes)
        what: dict[str, object] = {"users": "all" if only is None else len(only), "partial": partial, "tenant": tenant}
        with (
            audited("summaries.rebuild", **what) as fields,
            stages() as report,
        ):
            running = Rebuild(store, only, partial=partial, max_pending=bound, report=report, written_by=outdated)
            try:
                await running.run(start)
            except asyncio.CancelledError:
                say(f"interrupted; resume with --from-bucket {running.progress.bucket}")
                _print_summary(running.progress)
                raise
            finally:
                fields["rebuilt"] = running.progress.users["rebuilt"]
        _print_summary(running.progress)
        say(f"{await store.users.backlog():,} events are pending")


def _print_summary(progress: "Progress") -> None:
    letters = f", including {progress.dead_letters:,} dead letters" if progress.dead_letters else ""
    say(f"{progress.users['rebuilt']:,} users with {progress.events:,} events are folded again{letters}")
    if progress.current:
        say(f"skipped: {progress.current:,} users whose summary is by that version")
    for outcome, count in progress.users.items():
        if outcome in _SKIPPED:
            say(f"skipped: {count:,} users {_SKIPPED[outcome]}")
