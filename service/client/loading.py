"""Loads a dataset folder's catalogue into a running service, and goes on where an earlier run stopped."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Iterable

from model_store.data.dataset import Dataset, DatasetError, DatasetItem
from service.client.client import Json, WireClient

TITLE, DESCRIPTION, TERMS, TERM = 500, 10_000, 50, 100
"""The service's default limits in characters and in number; longer texts are cut before they are sent."""
CALL_ITEMS, CALL_BYTES = 200, 4 * 1024 * 1024
"""One call carries at most so many items, and no more after so many bytes of pictures."""


async def load_catalogue(client: WireClient, dataset: Dataset, progress: Callable[[str, int, int], None]) -> int:
    """Put the items that the service lacks; returns how many were put.

    An item that the service lists under the same title, with a picture if it has one here, is not sent again.

    Raises:
        DatasetError: a picture file is missing.
        ServiceError: the service refused an item.
    """
    listed = {item["item_id"]: item async for item in client.items()}
    missing = [item for item in dataset.items.values() if not _is_listed(item, listed.get(item.item_id))]
    put = 0
    async for batch in _batches(missing):
        await client.put_items(batch)
        put += len(batch)
        progress("loading items", put, len(missing))
    return put


async def wait_for_descriptions(
    client: WireClient, dataset: Dataset, progress: Callable[[str, int, int], None], *, stall_s: float, poll_s: float
) -> int:
    """Wait until the pictures of the catalogue are described; returns how many are not.

    The wait ends when none was described for `stall_s`: a picture may never be.
    """
    pictured = sum(item.image is not None for item in dataset.items.values())
    if not pictured:
        return 0
    least, moved = pictured + 1, time.monotonic()
    while True:
        waiting = 0
        async for item in client.items():
            waiting += item["item_id"] in dataset.items and bool(item["picture"]) and not item["summary"]
        if waiting < least:
            least, moved = waiting, time.monotonic()
        progress("describing pictures", pictured - waiting, pictured)
        if not waiting or time.monotonic() - moved > stall_s:
            return waiting
        await asyncio.sleep(poll_s)


def wire_item(item: DatasetItem) -> Json:
    """The item as `POST /items` takes it, its picture as base64; texts cut to the service's limits.

    Raises:
        DatasetError: the picture file is missing.
    """
    fields: dict[str, object] = {
        "item_id": item.item_id,
        "title": _title(item),
        "description": item.description[:DESCRIPTION],
        "genres": _terms(item.genres),
        "tags": _terms(item.tags),
    }
    if item.image is not None:
        try:
            fields["image_base64"] = base64.b64encode(item.image.read_bytes()).decode()
        except FileNotFoundError:
            raise DatasetError(f"{item.image} is missing: items.jsonl names it for item {item.item_id}") from None
    return fields


async def _batches(items: Iterable[DatasetItem]) -> AsyncIterator[list[Json]]:
    batch: list[Json] = []
    size = 0
    for item in items:
        batch.append(await asyncio.to_thread(wire_item, item))
        size += len(str(batch[-1].get("image_base64", "")))
        if len(batch) == CALL_ITEMS or size >= CALL_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _is_listed(item: DatasetItem, listed: Json | None) -> bool:
    if listed is None or listed["title"] != _title(item):
        return False
    return item.image is None or bool(listed["picture"] or listed["picture_error"])


def _title(item: DatasetItem) -> str:
    return item.title[:TITLE]


def _terms(terms: Iterable[str]) -> list[str]:
    return [term[:TERM] for term in terms if term][:TERMS]
