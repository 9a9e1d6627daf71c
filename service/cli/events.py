"""`tastestream export`: the event log and the catalogue as a dataset folder, or the events alone to be posted again."""

import asyncio
import csv
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.table import Table

from model_store.data.dataset import IMAGES, INTERACTIONS, ITEMS
from model_store.errors import UserError
from model_store.progress import Report, stages
from model_store.signals import Signals
from service.cli.reach import reached_store
from service.cli.sorted_runs import SortedRuns
from service.cli.staging import staged, staged_file
from service.cli.terminal import heed_interrupt, out
from service.cli.wire_events import json_line, wire_event
from service.http.times import format_time
from service.pictures.store import PictureStore, open_pictures
from service.settings import Settings
from service.state.records import Event, Item
from service.state.store import Store

COLUMNS = ("user_id", "item_id", "timestamp", "rating", "type")
RATED = frozenset({"rating", "rate"})
"""Types that readers know by the rating alone."""
JPEG = b"\xff\xd8"
ITEMS_AT_ONCE, BREATH = 100, 1000


@dataclass(frozen=True, slots=True)
class Span:
    """Events by the time when they happened, milliseconds since the epoch; `until` itself is out."""

    since_ms: int | None = None
    until_ms: int | None = None

    def holds(self, event: Event) -> bool:
        after = self.since_ms is None or event.timestamp_ms >= self.since_ms
        return after and (self.until_ms is None or event.timestamp_ms < self.until_ms)


@dataclass(slots=True)
class Exported:
    """What was written. Times in milliseconds since the epoch."""

    users: int = 0
    interactions: int = 0
    items: int = 0
    pictures: int = 0
    missing: int = 0
    """Items whose picture the picture folder lacks."""
    first_ms: int | None = None
    last_ms: int | None = None

    def see(self, timestamp_ms: int) -> None:
        self.interactions += 1
        self.first_ms = timestamp_ms if self.first_ms is None else min(self.first_ms, timestamp_ms)
        self.last_ms = timestamp_ms if self.last_ms is None else max(self.last_ms, timestamp_ms)


async def export_dataset(
    settings: Settings, folder: Path, span: Span, *, catalogue: bool, images: bool, force: bool
) -> None:
    """Write the dataset folder and print what is in it.

    Raises:
        UserError: the folder is not empty, or can't be written, or the pictures can't be read.
        StateUnavailable: Redis failed; the folder is as it was.
    """
    exported = Exported()
    async with reached_store(settings) as store:
        with staged(folder, force=force) as staging, stages() as report:
            try:
                if catalogue:
                    pictures = open_pictures(settings) if images else None
                    await _write_items(store, pictures, staging, exported, report)
                signals = Signals(settings.signals.vocabulary())
                await _write_interactions(store, staging, span, signals, exported, report)
            except OSError as error:
                raise UserError(f"the dataset can't be written: {error}") from error
        logged = await store.log.count()
    _conclude(settings, exported, logged, folder, catalogue=catalogue)


async def export_events(settings: Settings, file: Path, span: Span, *, force: bool) -> None:
    """Write the events as NDJSON for `POST /events`, each user's in the order of their acceptance.

    Raises:
        UserError: the file exists, or can't be written.
        StateUnavailable: Redis failed; there is no file.
    """
    exported = Exported()
    async with reached_store(settings) as store:
        with staged_file(file, force=force) as lines, stages() as report:
            async for event in _logged(store, span, report):
                lines.write(json_line(wire_event(event)) + "\n")
                exported.see(event.timestamp_ms)
    out.print(f"{exported.interactions:,} events in {file}", markup=False, highlight=False, soft_wrap=True)


async def _write_items(
    store: Store, pictures: PictureStore | None, staging: Path, exported: Exported, report: Report
) -> None:
    total = await store.items.count()
    (staging / IMAGES).mkdir()
    with (staging / ITEMS).open("w", encoding="utf-8") as lines:
        cursor: str | None = None
        while True:
            heed_interrupt()
            page, cursor = await store.items.page(ITEMS_AT_ONCE, cursor)
            named = {item.picture for item in page if item.picture} if pictures else set()
            contents = await pictures.read_many(named) if pictures else {}
            names = await asyncio.to_thread(_write_images, staging / IMAGES, contents)
            exported.missing += sum(item.picture in named - names.keys() for item in page)
            exported.pictures += sum(item.picture in names for item in page)
            for item in page:
                lines.write(json_line(_item_fields(item, names.get(item.picture or ""))) + "\n")
            exported.items += len(page)
            report("catalogue", min(1.0, exported.items / max(1, total)), f"{exported.items:,} items")
            if cursor is None:
                report("catalogue", 1.0, f"{exported.items:,} items")
                return


def _write_images(folder: Path, contents: dict[str, bytes]) -> dict[str, str]:
    """File names by hash; items with the same picture share a file."""
    names = {}
    for picture, content in contents.items():
        names[picture] = f"{picture}.{'jpg' if content.startswith(JPEG) else 'png'}"
        (folder / names[picture]).write_bytes(content)
    return names


def _item_fields(item: Item, image: str | None) -> dict[str, Any]:
    """The line of an item. What the service itself wrote about a picture stands for its caption."""
    fields = {
        "item_id": item.item_id,
        "title": item.title,
        "description": item.description,
        "genres": list(item.genres),
        "tags": list(item.tags),
        "attributes": dict(item.attributes or {}),
        "image": image,
        "caption": item.summary,
    }
    return {name: value for name, value in fields.items() if value or name == "title"}


async def _write_interactions(
    store: Store, staging: Path, span: Span, signals: Signals, exported: Exported, report: Report
) -> None:
    scratch = staging / "runs"
    scratch.mkdir()
    runs = SortedRuns(scratch)
    async for event in _logged(store, span, report):
        # The place in the log keeps events of the same time in the order of their acceptance.
        runs.add([event.user_id, event.timestamp_ms, exported.interactions, event.item_id, event.type, event.value])
        exported.see(event.timestamp_ms)
    with (staging / INTERACTIONS).open("w", encoding="utf-8", newline="") as lines:
        await _write_rows(runs, lines, signals, exported, report)


async def _write_rows(runs: SortedRuns, lines: TextIO, signals: Signals, exported: Exported, report: Report) -> None:
    writer, before = csv.writer(lines), None
    writer.writerow(COLUMNS)
    for number, (user_id, timestamp_ms, _, item_id, kind, value) in enumerate(runs.merged(), 1):
        exported.users += user_id != before
        before = user_id
        rating = value if value is not None and signals.reads_value(kind) else ""
        shown = "" if kind in RATED and rating != "" else kind
        writer.writerow((user_id, item_id, _seconds(timestamp_ms), rating, shown))
        if number % BREATH == 0:
            report("sorting", number / exported.interactions, f"{number:,} events")
            await asyncio.sleep(0)
    report("sorting", 1.0, f"{exported.interactions:,} events")


async def _logged(store: Store, span: Span, report: Report) -> AsyncIterator[Event]:
    """The events of all logs, bucket by bucket, each in the order of acceptance."""
    total, read = await store.log.count(), 0
    for bucket in store.log.buckets:
        async for one in store.log.read(bucket):
            read += 1
            if read % BREATH == 0:
                heed_interrupt()
                report("reading the log", min(1.0, read / max(1, total)), f"{read:,} events")
            if span.holds(one.event):
                yield one.event
    report("reading the log", 1.0, f"{read:,} events")


def _seconds(timestamp_ms: int) -> str:
    whole, rest = divmod(timestamp_ms, 1000)
    return f"{whole}.{rest:03}" if rest else str(whole)


def _conclude(settings: Settings, exported: Exported, logged: int, folder: Path, *, catalogue: bool) -> None:
    table = Table("", "", box=None, show_header=False)
    table.add_row("users", f"{exported.users:,}")
    table.add_row("interactions", f"{exported.interactions:,}")
    if exported.first_ms is not None and exported.last_ms is not None:
        table.add_row("from, to", f"{format_time(exported.first_ms)}, {format_time(exported.last_ms)}")
    if catalogue:
        table.add_row("items", f"{exported.items:,}, {exported.pictures:,} of them with a picture")
    if exported.missing:
        table.add_row("pictures missing", f"{exported.missing:,}")
    bound = settings.state.log_events
    share = f"{logged / bound:.0%}" if bound else "no log is kept"
    table.add_row("event log", f"{logged:,} of at most {bound:,} events ({share})")
    out.print(table, highlight=False)
    train = f"; train on it: tastestream train --data {folder}" if catalogue and exported.users else ""
    out.print(f"written to {folder}{train}", markup=False, highlight=False, soft_wrap=True)
