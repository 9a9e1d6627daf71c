"""NDJSON of any length: lines are accepted group by group as they arrive, and no more than a group is held."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import Request

from service.errors import InvalidRequest, TastestreamError
from service.events.batch import parse_events
from service.events.outcomes import count, refusal, rejections
from service.events.schemas import StreamAnswer
from service.http.batches import Rejection
from service.http.middleware import stream_body
from service.http.ndjson import LineSplitter, parse_line
from service.http.times import now_ms
from service.parts import Parts
from service.state.records import Accepted

_IN_HAND_MS = 1000
"""The longest that a chunk for which the reader waits lies in this process before it is read."""


async def accept_stream(request: Request, parts: Parts) -> StreamAnswer:
    """Accept the lines of the body. While a group is being written, nothing more is read.

    Raises:
        InvalidRequest: there were lines, and none was acceptable.
        BacklogFull, Overloaded, StateUnavailable, BodyTimeout: the stream stopped in the middle. The members
            of the error say what was accepted until then, and from which line on to send again (`resume_at`).
    """
    limits = parts.settings.limits
    stream_body(request.scope, limits.stream_idle_s)
    lines = LineSplitter(limits.line_bytes)
    intake = _Intake(parts)
    try:
        async for chunk, received_ms in _chunks(request):
            await intake.take([parse_line(line) for line in lines.feed(chunk)], received_ms)
        await intake.take([parse_line(line) for line in lines.end()], received_ms)
    except TastestreamError as error:
        error.members = {**intake.so_far(), "resume_at": intake.lines}
        raise
    return intake.answer()


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


class _Intake:
    """What became of the lines so far: `lines` of them are done with, and need not be sent again."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._accepted = self._duplicates = self._rejected_total = 0
        self._rejected: list[Rejection] = []
        self.lines = 0

    async def take(self, values: Sequence[Any], received_ms: int) -> None:
        size = self._parts.settings.limits.batch_events
        for start in range(0, len(values), size):
            await self._take_group(values[start : start + size], received_ms)

    async def _take_group(self, values: Sequence[Any], received_ms: int) -> None:
        batch = parse_events(values, received_ms, self._parts.settings.limits.context_bytes, first=self.lines)
        outcomes = await self._parts.store.events.accept(batch.events, received_ms) if batch.events else []
        count(self._parts.metrics, outcomes, len(batch.rejected))
        self._accepted += outcomes.count("accepted")
        self._duplicates += outcomes.count("duplicate")
        stopped = _stop(batch.positions, outcomes)
        end = self.lines + len(values) if stopped is None else stopped[0]
        rejected = [rejection for rejection in rejections(batch, outcomes) if rejection.index < end]
        self._rejected_total += len(rejected)
        self._rejected += rejected[: self._parts.settings.limits.stream_rejections - len(self._rejected)]
        self.lines = end
        if stopped is not None:
            raise stopped[1]

    def so_far(self) -> dict[str, Any]:
        return {
            "accepted": self._accepted,
            "duplicates": self._duplicates,
            "rejected": self._rejected,
            "rejected_total": self._rejected_total,
        }

    def answer(self) -> StreamAnswer:
        if self._rejected and not self._accepted + self._duplicates:
            first = self._rejected[0]
            detail = f"nothing was acceptable; line {first.index}: {first.detail}"
            raise InvalidRequest(detail, field=first.field, members=self.so_far())
        return StreamAnswer(self._accepted, self._duplicates, self._rejected, self._rejected_total)


def _stop(positions: Sequence[int], outcomes: Sequence[Accepted]) -> tuple[int, TastestreamError] | None:
    """The first line that the store refused for now, and why."""
    for position, outcome in zip(positions, outcomes, strict=True):
        error = refusal(outcome)
        if error is not None and error.retry_after_s is not None:
            return position, error
    return None
