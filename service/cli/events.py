"""`tastestream events`: the event log."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_store.data.dataset import IMAGES, ITEMS, item_line, write_interactions
from model_store.data.rows import InteractionRow
from model_store.progress import Report, stages
from model_store.signals import Signals
from service.cli.audit import audited
from service.cli.dataset_files import new_dataset, new_file
from service.cli.options import Tenant
from service.cli.store import opened_store
from service.cli.terminal import print_table, raise_if_interrupted, say, settings_or_exit
from service.http.times import format_time, now_ms, parse_time
from service.names import DEFAULT_TENANT
from service.pictures.store import PictureStore, open_pictures
from service.settings import Settings
from service.state.records import Event, Item

if TYPE_CHECKING:
    from service.state.store import Store

app = typer.Typer(no_args_is_help=True, help="Export the event log.")

PAGE = 100
"""Items that are read at a time."""
_RATED = "rating"
"""The type that the dataset reader infers from the rating."""
_JPEG = b"\xff\xd8"
_REPORT_EVERY = 1000


def _time(text: str) -> int:
    """Milliseconds since the epoch of a date (midnight in UTC), an RFC 3339 time, or Unix seconds."""
    given = f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text
    try:
        return parse_time(float(given) if re.fullmatch(r"\d+(\.\d+)?", given) else given, now_ms())
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}") from error


@app.command()
def export(
    folder: Annotated[Path | None, typer.Argument(help="The dataset folder to write.", show_default=False)] = None,
    ndjson: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a dataset, write the events to this file, in the form of `POST /events`.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(parser=_time, metavar="TIME", help="Only events at this time or later.", show_default=False),
    ] = None,
    until: Annotated[
        int | None, typer.Option(parser=_time, metavar="TIME", help="Only events before this time.", show_default=False)
    ] = None,
    no_items: Annotated[bool, typer.Option("--no-items", help="Leave out the catalogue.")] = False,
    no_images: Annotated[bool, typer.Option("--no-images", help="Leave out the pictures.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the dataset or the file.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Write the event log and the catalogue as a dataset folder, which `train` and `replay` read.

    TIME is a date, an RFC 3339 time or Unix seconds. The log is bounded (`TASTESTREAM_STATE__EVENT_LOG_SIZE`,
    `TASTESTREAM_STATE__EVENT_LOG_RETENTION_S`), so older events are not exported. A folder that is not empty is
    refused without `--force`. An export that fails or is interrupted changes nothing.

    Example:

        tastestream events export my-data --since 2026-10-01
    """
    os.umask(0o077)
    settings, span = settings_or_exit(), Span(since, until)
    target = folder if ndjson is None else ndjson
    if target is None or (folder is not None and ndjson is not None):
        raise typer.BadParameter("give either the dataset folder to write or --ndjson FILE")
    with audited("events.export", file=str(target), tenant=tenant):
        if folder is None:
            asyncio.run(_export_events(settings, tenant, target, span, force=force))
        else:
            contents = {"items": not no_items, "images": not no_images}
            asyncio.run(_export_dataset(settings, tenant, folder, span, **contents, force=force))


@dataclass(frozen=True, slots=True)
class Span:
    """A range of event times in milliseconds since the epoch; `until_ms` is excluded."""

    since_ms: int | None = None
    until_ms: int | None = None

    def __contains__(self, event: Event) -> bool:
        after = self.since_ms is None or event.timestamp_ms >= self.since_ms
        return after and (self.until_ms is None or event.timestamp_ms < self.until_ms)


@dataclass(slots=True)
class _Exported:
    """What was written. `missing` counts items whose picture is not in the picture folder."""

    users: int = 0
    items: int = 0
    pictures: int = 0
    missing: int = 0


async def _export_events(settings: Settings, tenant: str, file: Path, span: Span, *, force: bool) -> None:
    """Write the events, each user's in the order in which they were accepted."""
    count = 0
    async with opened_store(settings, tenant) as store:
        with new_file(file, force=force) as lines, stages() as report:
            async for event in _logged(store, span, report):
                lines.write(json.dumps(wire_event(event)) + "\n")
                count += 1
    say(f"{count:,} events in {file}")


def wire_event(event: Event) -> dict[str, Any]:
    """The event in the form of `POST /events`, without the fields that it does not have."""
    fields = {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "type": event.type,
        "timestamp": format_time(event.timestamp_ms),
        "value": event.value,
        "recommendation_id": event.recommendation_id,
        "context": event.context,
    }
    return {name: value for name, value in fields.items() if value is not None}


async def _export_dataset(
    settings: Settings, tenant: str, folder: Path, span: Span, *, items: bool, images: bool, force: bool
) -> None:
    exported = _Exported()
    async with opened_store(settings, tenant) as store:
        with new_dataset(folder, force=force) as partial, stages() as report:
            if items:
                pictures = open_pictures(settings.of_tenant(tenant)) if images else None
                await _write_items(store, pictures, partial, exported, report)
            signals = Signals(settings.signals.vocabulary())
            rows = [_row(event, signals) async for event in _logged(store, span, report)]
            exported.users = write_interactions(partial, rows)
        logged = await store.log.count()
    _print_summary(settings, exported, rows, logged, folder)


async def _write_items(
    store: "Store", pictures: PictureStore | None, partial: Path, exported: _Exported, report: Report
) -> None:
    total = await store.items.count()
    (partial / IMAGES).mkdir()
    with (partial / ITEMS).open("w", encoding="utf-8") as lines:
        cursor: str | None = None
        while True:
            raise_if_interrupted()
            page, cursor = await store.items.page(PAGE, cursor)
            named = {item.picture for item in page if item.picture} if pictures else set()
            contents = await pictures.read_many(named) if pictures else {}
            names = await asyncio.to_thread(_write_images, partial / IMAGES, contents)
            exported.missing += sum(item.picture in named - names.keys() for item in page)
            exported.pictures += sum(item.picture in names for item in page)
            for item in page:
                lines.write(item_line(_item_fields(item, names.get(item.picture or ""))))
            exported.items += len(page)
            done = 1.0 if cursor is None else min(1.0, exported.items / max(1, total))
            report("catalogue", done, f"{exported.items:,} items")
            if cursor is None:
                return


def _write_images(folder: Path, contents: dict[str, bytes]) -> dict[str, str]:
    """File names by hash; items with the same picture share a file."""
    names = {}
    for picture, content in contents.items():
        names[picture] = f"{picture}.{'jpg' if content.startswith(_JPEG) else 'png'}"
        (folder / names[picture]).write_bytes(content)
    return names


def _item_fields(item: Item, image: str | None) -> dict[str, Any]:
    """The item's line in `items.jsonl`. The item summary, which describes the picture, becomes the caption."""
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


def _row(event: Event, signals: Signals) -> InteractionRow:
    rating = event.value if event.value is not None and signals.reads_value(event.type) else None
    kind = "" if event.type == _RATED and rating is not None else event.type
    return InteractionRow(event.user_id, event.item_id, event.timestamp_ms / 1000, rating, kind)


async def _logged(store: "Store", span: Span, report: Report) -> AsyncIterator[Event]:
    """The events of all logs, bucket by bucket, each in the order in which they were accepted."""
    total, read = await store.log.count(), 0
    for bucket in store.log.buckets:
        async for one in store.log.read(bucket):
            read += 1
            if read % _REPORT_EVERY == 0:
                raise_if_interrupted()
                report("reading the log", min(1.0, read / max(1, total)), f"{read:,} events")
            if one.event in span:
                yield one.event
    report("reading the log", 1.0, f"{read:,} events")


def _print_summary(
    settings: Settings, exported: _Exported, rows: list[InteractionRow], logged: int, folder: Path
) -> None:
    facts = [("users", f"{exported.users:,}"), ("interactions", f"{len(rows):,}")]
    if rows:
        times = [round(row.timestamp * 1000) for row in rows]
        facts.append(("from, to", f"{format_time(min(times))}, {format_time(max(times))}"))
    if exported.items:
        facts.append(("items", f"{exported.items:,}, {exported.pictures:,} of them with a picture"))
    if exported.missing:
        facts.append(("pictures missing", f"{exported.missing:,}"))
    bound = settings.state.event_log_size
    share = f"{logged / bound:.0%}" if bound else "no log is kept"
    print_table([*facts, ("event log", f"{logged:,} of at most {bound:,} events ({share})")])
    train = f"; train on it: tastestream train --data {folder}" if exported.items and rows else ""
    say(f"written to {folder}{train}")
