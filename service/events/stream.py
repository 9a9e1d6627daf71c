"""NDJSON of any length: lines are accepted in groups as they arrive, and only one group is in memory."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import Request

from service.errors import BacklogFull, InvalidRequest, TastestreamError
from service.events.batch import parse_batch
from service.events.ingest import EventIngest
from service.events.outcomes import extensions, nothing_acceptable, refusal, rejections
from service.events.schemas import StreamAnswer
from service.http.batches import Rejection
from service.http.body_limit import stream_body
from service.http.ndjson import Line, LineSplitter, parse_line, pieces
from service.http.times import now_ms
from service.settings.limits import LimitSettings
from service.state.records import Accepted

_INVALID_PER_STORED = 9
"""A stream ends when more of its lines are invalid, after the first `limits.stream_rejections` invalid ones."""
_MAX_ALIKE = 10_000
"""Contents of events without id and time that a stream counts, so that equal ones in it are separate events."""
_MAX_BUFFERED_MS = 1000
"""The longest time for which a chunk is in this process before a waiting reader gets it."""


async def accept_stream(request: Request, ingest: EventIngest, limits: LimitSettings, *, strict: bool) -> StreamAnswer:
    """Accept the lines of the body. While a group is being written, nothing more is read.

    If a user's backlog is full, the user's lines are rejected and the others accepted; if `strict`, the stream stops.

    Raises:
        InvalidRequest: there were lines, and none was acceptable; or too many were invalid to be meant as events.
        BacklogFull: none was acceptable, but some may be later; or, if `strict`, a user's backlog is full.
        BacklogFull, Overloaded, StateUnavailable, BodyTimeout: the stream stopped in the middle. The extensions
            of the error say what was accepted until then, and the line to continue from (`resume_at`).
    """
    stream_body(request.scope, limits.stream_idle_s)
    lines = LineSplitter(limits.line_bytes)
    progress = _Progress(ingest, limits, strict=strict)
    try:
        async for chunk, received_ms, arrived_s in _chunks(request):
            for piece in pieces(chunk):
                await progress.take(lines.feed(piece), received_ms, arrived_s)
        await progress.take(lines.end(), received_ms, arrived_s)
    except TastestreamError as error:
        error.extensions = {**extensions(progress.answer), "resume_at": progress.lines}
        raise
    return progress.finish()


async def _chunks(request: Request) -> AsyncIterator[tuple[bytes, int, float]]:
    """The chunks of the body, at least one, each with a time before its arrival and the time of its reading.

    The first is in milliseconds since the epoch, the second one of `time.perf_counter`.

    A user's deletion after that time refuses the chunk's events, so the time must be early enough. A chunk that arrived
    while the last one was written may be as old as the reading of that one; a chunk that was awaited is not.
    """
    earliest = asked = now_ms()
    async for chunk in request.stream():
        read = now_ms()
        yield chunk, earliest if read - asked <= _MAX_BUFFERED_MS else read - _MAX_BUFFERED_MS, time.perf_counter()
        earliest, asked = read, now_ms()


class _Progress:
    """The results so far: the first `lines` lines are done, and need not be sent again."""

    def __init__(self, ingest: EventIngest, limits: LimitSettings, *, strict: bool) -> None:
        self._ingest = ingest
        self._limits = limits
        self._strict = strict
        self._invalid = 0
        self._alike: Counter[int] = Counter()
        self._full: TastestreamError | None = None
        self.answer = StreamAnswer(0, 0, [], 0, 0)
        self.lines = 0

    async def take(self, lines: Sequence[Line], received_ms: int, arrived_s: float) -> None:
        size = self._limits.batch_events
        for start in range(0, len(lines), size):
            await self._take_group([parse_line(line) for line in lines[start : start + size]], received_ms, arrived_s)
        if not lines:
            await asyncio.sleep(0)

    async def _take_group(self, values: Sequence[Any], received_ms: int, arrived_s: float) -> None:
        batch = await parse_batch(values, received_ms, first=self.lines, alike=self._alike)
        if len(self._alike) > _MAX_ALIKE:
            self._alike.clear()
        outcomes = await self._ingest.accept(batch, received_ms, arrived_s)
        if not outcomes:
            # Other requests get their turn even if no line is valid.
            await asyncio.sleep(0)
        self.answer.accepted += outcomes.count("accepted")
        self.answer.duplicates += outcomes.count("duplicate")
        self._invalid += len(batch.rejected)
        stopped = self._stop(batch.positions, outcomes)
        end = self.lines + len(values) if stopped is None else stopped[0]
        self._reject([rejection for rejection in rejections(batch, outcomes) if rejection.index < end])
        self.lines = end
        if stopped is not None:
            raise stopped[1]
        self._stop_nonsense()

    def _stop(self, positions: Sequence[int], outcomes: Sequence[Accepted]) -> tuple[int, TastestreamError] | None:
        """The first line at which the stream has to stop, and why; a user's full backlog stops it only if `strict`."""
        for position, outcome in zip(positions, outcomes, strict=True):
            error = refusal(outcome)
            if error is None or error.retry_after_s is None:
                continue
            if self._strict or not isinstance(error, BacklogFull):
                return position, error
            self._full = error
        return None

    def _reject(self, rejected: Sequence[Rejection]) -> None:
        self.answer.rejected_total += len(rejected)
        self.answer.retryable_total += sum(rejection.retryable for rejection in rejected)
        self.answer.rejected += rejected[: self._limits.stream_rejections - len(self.answer.rejected)]

    def _stop_nonsense(self) -> None:
        stored = self.answer.accepted + self.answer.duplicates + self.answer.retryable_total
        if self._invalid > self._limits.stream_rejections + _INVALID_PER_STORED * stored:
            first = self.answer.rejected[0]
            detail = f"{self._invalid} of {self.lines} lines were wrong; line {first.index}: {first.detail}"
            raise InvalidRequest(detail, field=first.field)

    def finish(self) -> StreamAnswer:
        if self.answer.rejected and not self.answer.accepted + self.answer.duplicates:
            raise nothing_acceptable(self.answer, "line", self._full)
        return self.answer
