"""Bulk import of a catalogue into a running service, over HTTP.

Some batches are in flight at a time and are counted in their order, so that what is counted is
always all up to some line. Whatever was sent and not counted is sent again by the next run: an item
that is put twice is the same item. Two lines of one item are never in flight together.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx
import orjson

from model_store.errors import UserError
from service.client.checkpoint import Checkpoint, Tally, writing
from service.client.client import Json, ServiceError, WireClient
from service.client.source import Batch, Rejected, Source, item_id_of

IN_FLIGHT = 4
CHECKPOINT_EVERY_S = 1.0
TIMEOUT_S = 300.0
TOO_LARGE = 413
Progress = Callable[[Tally], None]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """`patience_s`: how long a busy or vanished service is waited for. `rejects`: where rejected lines are written."""

    api_key: str | None = None
    rejects: Path | None = None
    restart: bool = False
    patience_s: float = 120.0
    poll_s: float = 1.0


async def import_items(
    source: Source,
    url: str,
    folder: Path,
    options: ImportOptions,
    progress: Progress,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Tally:
    """Send the items of `source` to the service at `url`; goes on where an earlier run stopped.

    Args:
        folder: where checkpoints are kept.

    Raises:
        ServiceError: the service can't be reached, or refused a call as a whole.
        UserError: the source can't be read, or a checkpoint or rejected lines can't be written.
    """
    checkpoint = Checkpoint(folder, source, url)
    tally = (None if options.restart else checkpoint.read()) or Tally()
    client = WireClient(
        url, api_key=options.api_key, timeout_s=TIMEOUT_S, patience_s=options.patience_s, transport=transport
    )
    async with client:
        with _Rejects(options.rejects, tally.noted_bytes, source) as rejects:
            await _Import(client, checkpoint, tally, rejects, options, progress).run(source)
    checkpoint.remove()
    return tally


class _Import:
    def __init__(
        self,
        client: WireClient,
        checkpoint: Checkpoint,
        tally: Tally,
        rejects: "_Rejects",
        options: ImportOptions,
        progress: Progress,
    ) -> None:
        self._client = client
        self._checkpoint = checkpoint
        self._tally = tally
        self._rejects = rejects
        self._options = options
        self._progress = progress
        self._reached = False
        self._saved = float("-inf")
        self._in_flight: deque[tuple[Batch, asyncio.Task[list[Json]]]] = deque()

    async def run(self, source: Source) -> None:
        batches = source.batches(self._tally.line, self._tally.offset)
        self._progress(self._tally)
        try:
            while batch := await asyncio.to_thread(next, batches, None):
                if any(not batch.item_ids.isdisjoint(other.item_ids) for other, _ in self._in_flight):
                    await self._count(0)
                self._in_flight.append((batch, asyncio.create_task(self._store(batch.items))))
                await self._count(IN_FLIGHT - 1)
            await self._count(0)
        finally:
            tasks = [task for _, task in self._in_flight]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._tally.line:
                self._save()

    async def _count(self, left: int) -> None:
        """Wait for the oldest batches until no more than `left` are in flight."""
        while len(self._in_flight) > left:
            batch, task = self._in_flight[0]
            answers = await task
            self._in_flight.popleft()
            rejected = sorted([*batch.rejected, *_rejected(batch, answers)], key=lambda one: one.line)
            stored, duplicates = (sum(answer.get(name, 0) for answer in answers) for name in ("accepted", "duplicates"))
            self._tally.pictures_pending += sum(len(answer.get("pictures_pending", ())) for answer in answers)
            self._tally.add(batch, stored, duplicates, rejected)
            self._rejects.add(rejected)
            self._progress(self._tally)
            if time.monotonic() - self._saved > CHECKPOINT_EVERY_S:
                self._save()

    def _save(self) -> None:
        self._tally.noted_bytes = self._rejects.flush()
        self._checkpoint.write(self._tally)
        self._saved = time.monotonic()

    async def _store(self, items: list[dict[str, Any]]) -> list[Json]:
        """What became of the items, by answers that cover them in their order; a batch too large is halved."""
        if not items:
            return []
        try:
            return [{**await self._patiently(items), "items": len(items)}]
        except ServiceError as error:
            if error.status != TOO_LARGE:
                raise
            if len(items) == 1:
                rejection = {
                    "index": 0,
                    "code": error.problem.get("code", ""),
                    "detail": error.problem.get("detail", ""),
                }
                return [{"items": 1, "rejected": [rejection]}]
        half = len(items) // 2
        return [*await self._store(items[:half]), *await self._store(items[half:])]

    async def _patiently(self, items: list[dict[str, Any]]) -> Json:
        """Send; a service that has answered before and is gone may only be starting anew."""
        deadline = time.monotonic() + self._options.patience_s
        while True:
            try:
                answer = await self._client.try_items(items)
            except ServiceError as error:
                if error.status is not None or not self._reached or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(self._options.poll_s)
            else:
                self._reached = True
                return answer


def _rejected(batch: Batch, answers: list[Json]) -> list[Rejected]:
    """What the service said against lines of the batch."""
    found = []
    start = 0
    for answer in answers:
        refused = [{**one, "code": "picture_refused"} for one in answer.get("picture_errors", ())]
        for one in (*answer.get("rejected", ()), *refused):
            place = start + one["index"]
            found.append(Rejected(batch.lines[place], item_id_of(batch.items[place]), one["code"], one["detail"]))
        start += answer["items"]
    return found


class _Rejects:
    """All rejected lines as JSON lines, in a file where one is wanted; what was noted behind `length` is dropped."""

    def __init__(self, path: Path | None, length: int, source: Source) -> None:
        self._path = path or Path()
        self._file: BinaryIO | None = None
        if path is not None:
            with writing(path):
                path.touch()
                if path.samefile(source.path):
                    raise UserError(f"{path} is what is imported: name another file for the rejected lines")
                if path.stat().st_size > length:
                    os.truncate(path, length)
                self._file = path.open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with writing(self._path):
                self._file.close()

    def add(self, rejected: list[Rejected]) -> None:
        if self._file is not None:
            with writing(self._path):
                self._file.write(b"".join(orjson.dumps(asdict(one)) + b"\n" for one in rejected))

    def flush(self) -> int:
        """Write what is buffered; returns the file's length."""
        if self._file is None:
            return 0
        with writing(self._path):
            self._file.flush()
            return self._file.tell()
