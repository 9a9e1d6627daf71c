"""Removes pictures that no item uses any more, and what was counted about deleted items.

Pictures are found by mark and sweep: the hashes of all items' pictures are read page by page into a set (about 100
bytes of memory each), then the folder is listed. An item that is put meanwhile may be missing from the set, but its
picture has just been written, so it is too young to be removed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from operator import add

from model_store.progress import Report, quiet
from service.errors import StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.pictures.folders import PARTS
from service.pictures.store import PictureStore, Swept
from service.settings.pictures import PictureSettings
from service.state.store import Store

log = get_logger(__name__)
_TASK = "sweep"
_LOOK_S = 30.0
"""How often to try to become the one worker that sweeps."""
TokenFolders = Callable[[], Sequence[PictureStore]]


def no_tokens() -> Sequence[PictureStore]:
    """For rankers that see pictures themselves."""
    return ()


async def sweep_pictures(
    store: Store,
    pictures: PictureStore,
    grace_s: float,
    *,
    tokens: Sequence[PictureStore] = (),
    dry_run: bool = False,
    report: Report = quiet,
) -> Swept:
    """Remove, or only count, the pictures that no item names and that were older than `grace_s` at the start.

    Args:
        tokens: the folders with the soft tokens of the pictures, which go with them.

    Raises:
        StateUnavailable: the catalogue can't be read; nothing was removed.
        OSError: the folder can't be read or written.
    """
    began = time.monotonic()
    named: set[bytes] = set()
    items, read = await store.items.count(), 0
    async for page in store.items.pictures():
        named.update(bytes.fromhex(picture) for picture in page)
        read += len(page)
        report("reading the catalogue", min(1.0, read / max(1, items)), f"{len(named)} pictures")
    report("reading the catalogue", 1.0, f"{len(named)} pictures")
    swept, done, folders = Swept(), 0, (pictures, *tokens)
    for folder in folders:
        async for part in folder.sweep(named, grace_s, began, dry_run=dry_run):
            swept, done = Swept(*map(add, astuple(swept), astuple(part))), done + 1
            report("sweeping", done / len(PARTS) / len(folders), f"{swept.removed} removed")
    return swept


async def sweep_periodically(
    store: Store,
    pictures: PictureStore,
    settings: PictureSettings,
    metrics: Metrics,
    stop: asyncio.Event,
    tokens: TokenFolders = no_tokens,
) -> None:
    """Sweep whenever this worker gets the lock, until `stop` is set. An interrupted sweep does no harm."""
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        sweeping = asyncio.create_task(_sweep(store, pictures, settings, metrics, tokens))
        await asyncio.wait({stopping, sweeping}, return_when=asyncio.FIRST_COMPLETED)
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        if not sweeping.cancelled() and (error := sweeping.exception()):
            metrics.sweeps.labels("failed").inc()
            expected = isinstance(error, StateUnavailable | OSError)
            log.warning("sweep_failed", error=str(error)[:200], exc_info=None if expected else error)
        await asyncio.wait({stopping}, timeout=min(_LOOK_S, settings.sweep_every_s))


async def _sweep(
    store: Store, pictures: PictureStore, settings: PictureSettings, metrics: Metrics, tokens: TokenFolders
) -> None:
    if not await store.locks.take(_TASK, settings.sweep_every_s):
        return
    if deleted := await store.deleted_items.sweep():
        log.info("deleted_items_swept", items=deleted)
    if not await store.items.count():
        # This Redis may have lost its catalogue, or not be the one that the folder belongs to.
        metrics.sweeps.labels("empty").inc()
        return
    folders = await asyncio.to_thread(tokens)
    swept = await sweep_pictures(store, pictures, settings.grace_s, tokens=folders)
    metrics.sweeps.labels("swept").inc()
    metrics.pictures_removed.inc(swept.removed)
    metrics.picture_bytes_freed.inc(swept.removed_bytes)
    log.info("pictures_swept", kept=swept.kept, removed=swept.removed, bytes=swept.removed_bytes)
