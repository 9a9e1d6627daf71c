"""`tastestream dead-letters`: look at what could not be worked, try it again, or drop it."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from model_store.errors import UserError
from model_store.progress import stages
from service.cli.reach import reached_store
from service.cli.terminal import confirm, heed_interrupt, out, printable, say
from service.cli.wire_events import json_line, wire_event
from service.http.times import format_time
from service.settings import Settings
from service.state.records import DeadLetter
from service.state.store import Store

_WORDS = {"retried": "retried", "not_found": "not found", "backlog_full": "the user's backlog is full, left as it is"}


@dataclass(frozen=True, slots=True)
class Which:
    """Which letters are meant; None says nothing about it."""

    user: str | None = None
    item: str | None = None
    reason: str | None = None

    async def of(self, store: Store) -> AsyncIterator[DeadLetter]:
        async for letter in store.dead_letters.read(self.user, self.item):
            heed_interrupt()
            if self.reason is None or letter.reason == self.reason:
                yield letter


async def list_letters(settings: Settings, which: Which, limit: int, *, as_json: bool) -> None:
    """Print the `limit` oldest letters as a table, or each as a line of JSON with its whole events."""
    table = Table("id", "kind", "user or item", "reason", "age", "events", box=None)
    shown = more = 0
    async with reached_store(settings) as store:
        async for letter in which.of(store):
            if shown == limit:
                if as_json:
                    break
                more += 1
                continue
            shown += 1
            if as_json:
                print(json_line(_wire_letter(letter)))  # noqa: T201 - for another program, so no layout
            else:
                table.add_row(*map(printable, _row(letter)))
    if as_json:
        return
    if shown:
        out.print(table, markup=False)
    say(f"{shown:,} of {shown + more:,} dead letters" if more else f"{shown:,} dead letters")


async def retry_letters(settings: Settings, ids: Sequence[str], everything: bool, which: Which) -> int:
    """Put letters back to work and say what became of each; returns how many were not retried."""
    _require_a_choice(ids, everything, which)
    outcomes: Counter[str] = Counter()
    async with reached_store(settings) as store:
        try:
            async for letter_id in _named(store, ids, which):
                outcome = await store.dead_letters.retry(letter_id)
                outcomes[outcome] += 1
                if ids or outcome != "retried":
                    say(f"{letter_id}: {_WORDS[outcome]}")
        finally:
            if everything:
                say(f"retried {outcomes['retried']:,} of {outcomes.total():,} dead letters")
    return outcomes.total() - outcomes["retried"]


async def drop_letters(settings: Settings, ids: Sequence[str], everything: bool, which: Which, *, yes: bool) -> int:
    """Remove letters for good and say what became of each; returns how many were not there."""
    _require_a_choice(ids, everything, which)
    outcomes: Counter[bool] = Counter()
    async with reached_store(settings) as store:
        await _confirm_drop(store, ids, which, yes)
        try:
            async for letter_id in _named(store, ids, which):
                dropped = await store.dead_letters.drop(letter_id)
                outcomes[dropped] += 1
                if ids:
                    say(f"{letter_id}: {'dropped' if dropped else 'not found'}")
        finally:
            if everything:
                say(f"dropped {outcomes[True]:,} dead letters")
    return outcomes[False]


def _require_a_choice(ids: Sequence[str], everything: bool, which: Which) -> None:
    if bool(ids) == everything:
        raise UserError("name the ids of dead letters (`tastestream dead-letters list` shows them), or give --all")
    if ids and which != Which():
        raise UserError("--reason, --user and --item choose among --all; ids are chosen already")


async def _confirm_drop(store: Store, ids: Sequence[str], which: Which, yes: bool) -> None:
    if ids:
        confirm(f"Drop {len(ids):,} dead letters for good?", yes)
        return
    letters = events = 0
    if not yes:
        async for letter in which.of(store):
            letters, events = letters + 1, events + len(letter.events)
    confirm(f"Drop {letters:,} dead letters with {events:,} events for good?", yes)


async def _named(store: Store, ids: Sequence[str], which: Which) -> AsyncIterator[str]:
    """The ids themselves, or those of all letters that are meant, with a bar."""
    if ids:
        for letter_id in ids:
            yield letter_id
        return
    total, done = await store.dead_letters.count(), 0
    with stages() as report:
        async for letter in which.of(store):
            yield letter.id
            done += 1
            report("dead letters", min(1.0, done / max(1, total)), f"{done:,}")
        report("dead letters", 1.0, f"{done:,}")


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
