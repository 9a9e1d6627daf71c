"""Load a catalogue into a running service.

A few requests are in flight at a time, and their outcomes are counted in order: the tally always covers all lines up to
some line. Lines that were sent but not counted are sent again by the next run; storing an item twice is harmless. Two
lines with the same item are never in flight together.
"""

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from model_store.data.dataset import DatasetItem
from model_store.progress import Report
from service.client.checkpoint import Checkpoint, RejectsFile, Tally
from service.client.client import Json, ServiceClient, ServiceError
from service.client.source import Batch, Item, Rejected, Source, item_id_of

MAX_CONCURRENT_REQUESTS = 4
CHECKPOINT_EVERY_S = 1.0
TOO_LARGE = 413
TITLE, DESCRIPTION, TERMS, TERM = 500, 10_000, 50, 100
"""The service's default limits in characters (of genres and tags, also in number)."""
_DATASET_FIELDS = frozenset(field.name for field in dataclasses.fields(DatasetItem))
OnBatch = Callable[[Tally, Sequence[Rejected]], None]
"""Called after each batch, in order, with the tally so far and the rejected lines of the batch."""


async def import_catalogue(
    client: ServiceClient,
    source: Source,
    progress: Callable[[Tally], None],
    *,
    checkpoint: Checkpoint,
    rejects: Path | None = None,
) -> Tally:
    """Send all items of `source`, starting where an earlier run stopped. Rejected lines do not stop the import.

    Args:
        rejects: the file to write rejected lines to.

    Raises:
        ServiceError: the service can't be reached or refused a request as a whole.
        UserError: the source can't be read, or the checkpoint or the rejected lines can't be written.
    """
    tally = checkpoint.read() or Tally()
    saved = float("-inf")
    with RejectsFile(rejects, tally.rejects_bytes, source) as file:

        def save() -> None:
            nonlocal saved
            tally.rejects_bytes = file.flush()
            checkpoint.write(tally)
            saved = time.monotonic()

        def on_batch(tally: Tally, rejected: Sequence[Rejected]) -> None:
            file.add(rejected)
            progress(tally)
            if time.monotonic() - saved > CHECKPOINT_EVERY_S:
                save()

        progress(tally)
        try:
            await _send(client, source.batches(tally.line, tally.offset), tally, on_batch)
        finally:
            if tally.line:
                save()
    checkpoint.remove()
    return tally


async def load_missing(client: ServiceClient, folder: Path, report: Report, *, newest: Container[str] = ()) -> int:
    """Send the items of a dataset folder that the service lacks, and return how many were sent.

    An item is not sent if the service has it with the same title, and with a picture if there is one here. Texts are
    cut to the service's default limits. Fields that a dataset does not define are ignored, as in training.

    Args:
        newest: ids of items that are sent when the service has all others.

    Raises:
        ServiceError: the service rejected an item, or a line of the folder has no item.
        UserError: the folder can't be read.
    """
    source = Source(folder)
    stored = {item["item_id"]: item async for item in client.items()}
    passes = (False, True) if newest else (False,)
    sent = 0

    async def send(number: int, new: bool) -> int:
        def wanted(item: Item) -> bool:
            item_id = str(item.get("item_id"))
            if (item_id in newest) != new:
                return False
            for name in item.keys() - _DATASET_FIELDS:
                del item[name]
            _cut(item)
            return not _is_stored(item, stored.get(item_id))

        def on_batch(tally: Tally, rejected: Sequence[Rejected]) -> None:
            for one in rejected:
                if one.code != "picture_refused":
                    raise ServiceError(f"{source.path}, line {one.line}: item {one.item_id} was rejected: {one.detail}")
            done = tally.offset / source.size if source.size else 1.0
            report("loading items", (number + done) / len(passes), f"{sent + tally.stored:,} stored")

        tally = Tally()
        await _send(client, source.batches(wanted=wanted), tally, on_batch)
        return tally.stored + tally.duplicates

    for number, new in enumerate(passes):
        sent += await send(number, new)
    return sent


async def _send(client: ServiceClient, batches: Generator[Batch, None, None], tally: Tally, on_batch: OnBatch) -> None:
    """Send the batches and add their outcomes to the tally. Closes `batches`."""
    in_flight: deque[tuple[Batch, asyncio.Task[list[Json]]]] = deque()

    async def finish_oldest() -> None:
        batch, task = in_flight[0]
        answers = await task
        in_flight.popleft()
        tally.stored += sum(answer.get("accepted", 0) for answer in answers)
        tally.duplicates += sum(answer.get("duplicates", 0) for answer in answers)
        tally.pictures_pending += sum(len(answer.get("pictures_pending", ())) for answer in answers)
        rejected = sorted([*batch.rejected, *_rejected(batch, answers)], key=lambda one: one.line)
        tally.add(batch, rejected)
        on_batch(tally, rejected)

    try:
        while batch := await asyncio.to_thread(next, batches, None):
            if any(not batch.item_ids.isdisjoint(other.item_ids) for other, _ in in_flight):
                await finish_oldest()
            in_flight.append((batch, asyncio.create_task(_store(client, batch.items))))
            while len(in_flight) >= MAX_CONCURRENT_REQUESTS:
                await finish_oldest()
        while in_flight:
            await finish_oldest()
    finally:
        tasks = [task for _, task in in_flight]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # After a cancellation a thread may still be reading; the generator can't be closed then.
        with suppress(ValueError):
            batches.close()


async def _store(client: ServiceClient, items: list[Item]) -> list[Json]:
    """Send the items, in halves if the batch is too large. Returns the answers, each with its number of `items`."""
    if not items:
        return []
    try:
        return [{**await client.post_items(items), "items": len(items)}]
    except ServiceError as error:
        if error.status != TOO_LARGE:
            raise
        if len(items) == 1:
            rejection = {"index": 0, "code": error.problem.get("code", ""), "detail": error.problem.get("detail", "")}
            return [{"items": 1, "rejected": [rejection]}]
    half = len(items) // 2
    return [*await _store(client, items[:half]), *await _store(client, items[half:])]


def _rejected(batch: Batch, answers: list[Json]) -> Iterator[Rejected]:
    """The lines of the batch that the service rejected, and those whose picture it refused."""
    start = 0
    for answer in answers:
        refused = [{**one, "code": "picture_refused"} for one in answer.get("picture_errors", ())]
        for one in (*answer.get("rejected", ()), *refused):
            index = start + one["index"]
            yield Rejected(batch.lines[index], item_id_of(batch.items[index]), one["code"], one["detail"])
        start += answer["items"]


def _cut(item: Item) -> None:
    """Cut texts to the limits. Values of other types are left for the service to reject."""
    for name, limit in (("title", TITLE), ("description", DESCRIPTION)):
        if isinstance(item.get(name), str):
            item[name] = item[name][:limit]
    for name in ("genres", "tags"):
        if isinstance(item.get(name), list):
            terms = [term[:TERM] if isinstance(term, str) else term for term in item[name] if term]
            item[name] = terms[:TERMS]


def _is_stored(item: Item, stored: Json | None) -> bool:
    if stored is None or stored["title"] != item.get("title"):
        return False
    has_picture = any(item.get(name) for name in ("image", "image_url", "image_base64"))
    return not has_picture or bool(stored["picture"] or stored["picture_error"] or stored.get("picture_pending"))
