"""NDJSON of any length: lines are accepted group by group as they arrive, and no more than a group is held."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import Request

from service.errors import BacklogFull, InvalidRequest, TastestreamError
from service.events.batch import parse_batch
from service.events.ingest import EventIngest
from service.events.outcomes import refusal, rejections
from service.events.schemas import StreamAnswer
from service.http.batches import Rejection
from service.http.body_limit import stream_body
from service.http.ndjson import Line, LineSplitter, parse_line, pieces
from service.http.times import now_ms
from service.settings import LimitSettings
from service.state.records import Accepted

_WRONG_TO_EACH_TAKEN = 9
"""A stream ends when more of its lines are wrong, after the first `limits.stream_rejections` wrong ones."""
_ALIKE_KEPT = 10_000
"""Contents without id and time that a stream counts, so that what is alike in it is not taken for the same event."""
_IN_HAND_MS = 1000
"""The longest that a chunk for which the reader waits lies in this process before it is read."""


async def accept_stream(request: Request, ingest: EventIngest, limits: LimitSettings, *, strict: bool) -> StreamAnswer:
    """Accept the lines of the body. While a group is being written, nothing more is read.

    A line whose user has a full backlog is rejected, and the others go on; if `strict`, the stream stops at it.

    Raises:
        InvalidRequest: there were lines, and none was acceptable; or so many are wrong that this can't be meant.
        BacklogFull: none was acceptable, some only for now; or, if `strict`, one was not.
        BacklogFull, Overloaded, StateUnavailable, BodyTimeout: the stream stopped in the middle. The extensions
            of the error say what was accepted until then, and from which line on to send again (`resume_at`).
    """
    stream_body(request.scope, limits.stream_idle_s)
    lines = LineSplitter(limits.line_bytes)
    progress = _Progress(ingest, limits, strict=strict)
    try:
        async for chunk, received_ms in _chunks(request):
            for piece in pieces(chunk):
                await progress.take(lines.feed(piece), received_ms)
        await progress.take(lines.end(), received_ms)
    except TastestreamError as error:
        error.extensions = {**progress.so_far(), "resume_at": progress.lines}
        raise
    return progress.answer()


async def _chunks(request: Request) -> AsyncIterator[tuple[bytes, int]]:
    """The chunks of the body, at least one, each with a time at which it had not arrived yet.

    A deletion that comes between that time and the writing wins, so it may not be too late. What came while
    the last chunk was being written may be as old as the reading of that one; what had to be waited for is not.
    """
    earliest = asked = now_ms()
    async for chunk in request.stream():
        read = now_ms()
        yield chunk, earliest if read - asked <= _IN_HAND_MS else read - _IN_HAND_MS
        earliest, asked = read, now_ms()


class _Progress:
    """What became of the lines so far: `lines` of them are done with, and need not be sent again."""

    def __init__(self, ingest: EventIngest, limits: LimitSettings, *, strict: bool) -> None:
        self._ingest = ingest
        self._limits = limits
        self._strict = strict
        self._accepted = self._duplicates = self._wrong = self._rejected_total = self._retryable_total = 0
        self._rejected: list[Rejection] = []
        self._alike: Counter[int] = Counter()
        self._for_now: TastestreamError | None = None
        self.lines = 0

    async def take(self, lines: Sequence[Line], received_ms: int) -> None:
        size = self._limits.batch_events
        for start in range(0, len(lines), size):
            await self._take_group([parse_line(line) for line in lines[start : start + size]], received_ms)
        if not lines:
            await asyncio.sleep(0)

    async def _take_group(self, values: Sequence[Any], received_ms: int) -> None:
        batch = await parse_batch(values, received_ms, first=self.lines, alike=self._alike)
        if len(self._alike) > _ALIKE_KEPT:
            self._alike.clear()
        outcomes = await self._ingest.accept(batch, received_ms)
        if not outcomes:
            # Others get their turn, whatever is sent.
            await asyncio.sleep(0)
        self._accepted += outcomes.count("accepted")
        self._duplicates += outcomes.count("duplicate")
        self._wrong += len(batch.rejected)
        stopped = self._stop(batch.positions, outcomes)
        end = self.lines + len(values) if stopped is None else stopped[0]
        self._reject([rejection for rejection in rejections(batch, outcomes) if rejection.index < end])
        self.lines = end
        if stopped is not None:
            raise stopped[1]
        self._stop_nonsense()

    def _stop(self, positions: Sequence[int], outcomes: Sequence[Accepted]) -> tuple[int, TastestreamError] | None:
        """The first line at which the stream has to stop, and why: of one user's full backlog only when strict."""
        for position, outcome in zip(positions, outcomes, strict=True):
            error = refusal(outcome)
            if error is None or error.retry_after_s is None:
                continue
            if self._strict or not isinstance(error, BacklogFull):
                return position, error
            self._for_now = error
        return None

    def _reject(self, rejected: Sequence[Rejection]) -> None:
        self._rejected_total += len(rejected)
        self._retryable_total += sum(rejection.retryable for rejection in rejected)
        self._rejected += rejected[: self._limits.stream_rejections - len(self._rejected)]

    def _stop_nonsense(self) -> None:
        taken = self._accepted + self._duplicates + self._retryable_total
        if self._wrong > self._limits.stream_rejections + _WRONG_TO_EACH_TAKEN * taken:
            first = self._rejected[0]
            detail = f"{self._wrong} of {self.lines} lines were wrong; line {first.index}: {first.detail}"
            raise InvalidRequest(detail, field=first.field)

    def so_far(self) -> dict[str, Any]:
        return {
            "accepted": self._accepted,
            "duplicates": self._duplicates,
            "rejected": self._rejected,
            "rejected_total": self._rejected_total,
            "retryable_total": self._retryable_total,
        }

    def answer(self) -> StreamAnswer:
        if self._rejected and not self._accepted + self._duplicates:
            first = self._rejected[0]
            detail = f"nothing was acceptable; line {first.index}: {first.detail}"
            error = self._for_now or InvalidRequest(detail, field=first.field)
            error.extensions = self.so_far()
            raise error
        counts = (self._accepted, self._duplicates, self._rejected, self._rejected_total)
        return StreamAnswer(*counts, self._retryable_total)
