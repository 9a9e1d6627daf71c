"""`tastestream dead-letters`: the dead-letter queue."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_store.errors import UserError
from model_store.progress import stages
from service.audit import pseudonym
from service.cli.audit import audited
from service.cli.events import wire_event
from service.cli.options import Tenant, Yes
from service.cli.store import opened_store
from service.cli.terminal import confirm, print_table, raise_if_interrupted, say, settings_or_exit
from service.http.times import format_time
from service.names import DEFAULT_TENANT
from service.settings import Settings
from service.state.records import DeadLetter

if TYPE_CHECKING:
    from service.state.store import Store

app = typer.Typer(no_args_is_help=True, help="List, retry or drop what could not be processed.")

_OUTCOMES = {"retried": "retried", "not_found": "not found", "backlog_full": "not retried, the user's backlog is full"}

Ids = Annotated[list[str] | None, typer.Argument(help="Ids as shown by `list`.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All dead letters, or all that --user, --item and --reason select.")]
User = Annotated[str | None, typer.Option(help="Only those of this user.", show_default=False)]
Item = Annotated[str | None, typer.Option(help="Only those of this item.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Only those with this reason.", show_default=False)]


@app.command("list")
def list_letters(
    user: User = None,
    item: Item = None,
    reason: Reason = None,
    tenant: Tenant = DEFAULT_TENANT,
    limit: Annotated[int, typer.Option(help="How many to show, oldest first.", min=1)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines that include the events.")] = False,
) -> None:
    """List the dead letters, oldest first: which user or item, the reason, and the number of events.

    Example:

        tastestream dead-letters list --reason answer_empty
    """
    asyncio.run(_list(settings_or_exit(), Selection(user, item, reason, tenant=tenant), limit, as_json=as_json))


@app.command()
def retry(
    ids: Ids = None,
    everything: All = False,
    user: User = None,
    item: Item = None,
    reason: Reason = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Queue dead letters again, after the cause was fixed.

    A user's events are queued after those that are pending. The exit status is 1 if a dead letter was not found, or was
    kept because the backlog of its user is full.

    Example:

        tastestream dead-letters retry --all --reason answer_empty
    """
    selection = _selection(ids or (), everything, user, item, reason, tenant)
    raise typer.Exit(1 if asyncio.run(_retry(settings_or_exit(), selection)) else 0)


@app.command()
def drop(
    ids: Ids = None,
    everything: All = False,
    user: User = None,
    item: Item = None,
    reason: Reason = None,
    tenant: Tenant = DEFAULT_TENANT,
    yes: Yes = False,
) -> None:
    """Remove dead letters permanently. Their events never enter a summary; their items stay without a description.

    Example:

        tastestream dead-letters drop --all --user user-00039
    """
    selection = _selection(ids or (), everything, user, item, reason, tenant)
    raise typer.Exit(1 if asyncio.run(_drop(settings_or_exit(), selection, yes=yes)) else 0)


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects a tenant's dead letters by id, or all that match the fields that are not None."""

    user: str | None = None
    item: str | None = None
    reason: str | None = None
    ids: Sequence[str] = ()
    tenant: str = DEFAULT_TENANT

    def audited(self, action: str) -> AbstractContextManager[dict[str, object]]:
        """Writes the selection to the audit log when the block ends; see `service.cli.audit`."""
        names = {"user": self.user, "item": self.item}
        digests = {name: pseudonym(value) for name, value in names.items() if value is not None}
        reason = {} if self.reason is None else {"reason": self.reason}
        return audited(action, ids=list(self.ids) or "all", tenant=self.tenant, **digests, **reason)

    async def letters(self, store: "Store") -> AsyncIterator[DeadLetter]:
        async for letter in store.dead_letters.read(self.user, self.item):
            raise_if_interrupted()
            if self.reason is None or letter.reason == self.reason:
                yield letter

    async def letter_ids(self, store: "Store") -> AsyncIterator[str]:
        """The ids themselves, or those of all selected letters, with a progress bar."""
        if self.ids:
            for letter_id in self.ids:
                yield letter_id
            return
        total, done = await store.dead_letters.count(), 0
        with stages() as report:
            async for letter in self.letters(store):
                yield letter.id
                done += 1
                report("dead letters", min(1.0, done / max(1, total)), f"{done:,}")
            report("dead letters", 1.0, f"{done:,}")


def _selection(
    ids: Sequence[str], everything: bool, user: str | None, item: str | None, reason: str | None, tenant: str
) -> Selection:
    if bool(ids) == everything:
        raise UserError("give the ids of dead letters (`tastestream dead-letters list` shows them) or --all")
    if ids and any((user, item, reason)):
        raise UserError("--reason, --user and --item go with --all, not with ids")
    return Selection(user, item, reason, ids, tenant)


async def _list(settings: Settings, selection: Selection, limit: int, *, as_json: bool) -> None:
    rows: list[tuple[str, ...]] = []
    more = 0
    async with opened_store(settings, selection.tenant) as store:
        async for letter in selection.letters(store):
            if len(rows) == limit:
                if as_json:
                    break
                more += 1
                continue
            rows.append(_row(letter))
            if as_json:
                # ASCII, so that it can't control a terminal.
                print(json.dumps(_wire_letter(letter)))  # noqa: T201 - without layout, for other programs
    if as_json:
        return
    if rows:
        print_table(rows, "id", "kind", "user or item", "reason", "age", "events")
    say(f"{len(rows):,} of {len(rows) + more:,} dead letters" if more else f"{len(rows):,} dead letters")


async def _retry(settings: Settings, selection: Selection) -> int:
    """Retry, print the outcome, and return how many were not retried."""
    outcomes: Counter[str] = Counter()
    async with opened_store(settings, selection.tenant) as store:
        with selection.audited("dead_letter.retry") as fields:
            try:
                async for letter_id in selection.letter_ids(store):
                    outcome = await store.dead_letters.retry(letter_id)
                    outcomes[outcome] += 1
                    if selection.ids or outcome != "retried":
                        say(f"{letter_id}: {_OUTCOMES[outcome]}")
            finally:
                fields["retried"] = outcomes["retried"]
                if not selection.ids:
                    say(f"retried {outcomes['retried']:,} of {outcomes.total():,} dead letters")
    return outcomes.total() - outcomes["retried"]


async def _drop(settings: Settings, selection: Selection, *, yes: bool) -> int:
    """Drop, print the outcome, and return how many were not found."""
    outcomes: Counter[bool] = Counter()
    async with opened_store(settings, selection.tenant) as store:
        await _confirm_drop(store, selection, yes)
        with selection.audited("dead_letter.drop") as fields:
            try:
                async for letter_id in selection.letter_ids(store):
                    dropped = await store.dead_letters.drop(letter_id)
                    outcomes[dropped] += 1
                    if selection.ids:
                        say(f"{letter_id}: {'dropped' if dropped else 'not found'}")
            finally:
                fields["dropped"] = outcomes[True]
                if not selection.ids:
                    say(f"dropped {outcomes[True]:,} dead letters")
    return outcomes[False]


async def _confirm_drop(store: "Store", selection: Selection, yes: bool) -> None:
    if selection.ids:
        confirm(f"Drop {len(selection.ids):,} dead letters permanently?", yes)
        return
    letters = events = 0
    if not yes:
        async for letter in selection.letters(store):
            letters, events = letters + 1, events + len(letter.events)
    confirm(f"Drop {letters:,} dead letters with {events:,} events permanently?", yes)


def _row(letter: DeadLetter) -> tuple[str, ...]:
    age = _age(time.time() - letter.at_ms / 1000)
    return (letter.id, letter.kind, letter.key, letter.reason, age, str(len(letter.events)) if letter.events else "")


def _age(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _wire_letter(letter: DeadLetter) -> dict[str, Any]:
    about = {"user_id": letter.key} if letter.kind == "summarize" else {"item_id": letter.key}
    events = [wire_event(event) for event in letter.events]
    when = format_time(letter.at_ms)
    return {"id": letter.id, "kind": letter.kind, **about, "reason": letter.reason, "at": when, "events": events}
