"""A store on an empty Redis and on an empty cluster, with a clock that the test sets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection

from service.settings import Settings
from service.settings.limits import LimitSettings
from service.settings.state import StateSettings
from service.state.records import Event
from service.state.store import Store
from tests.redis_servers import FIXTURES, emptied

START_MS = 1_750_000_000_000
QUIET = {"clock_skew_s": 0.0, "buckets": 4, "redis_timeout_s": 20.0}
"""Few buckets, one clock, and a timeout long enough for a busy machine."""
StateOf = Callable[..., Settings]


class Clock:
    """Milliseconds since the epoch; stands still until `pass_s`."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms

    def pass_s(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


def event(user: str = "u", number: int | str = 0, item: str | None = None, **fields: Any) -> Event:
    """An event whose id and item contain its number."""
    given = {"type": "click", "timestamp_ms": START_MS, **fields}
    return Event(event_id=f"{user}-{number}", user_id=user, item_id=item or f"item-{number}", **given)


def break_once(
    monkeypatch: pytest.MonkeyPatch, how: Callable[[AbstractConnection], Awaitable[None]], *, before: bytes
) -> Callable[[], bool]:
    """Break a connection just before a command that contains `before` is written; returns whether that happened."""
    send, broken = AbstractConnection._send_packed_command, False

    async def after_breaking(connection: AbstractConnection, command: list[bytes]) -> None:
        nonlocal broken
        if not broken and before in command[0]:
            broken = True
            await how(connection)
        await send(connection, command)

    monkeypatch.setattr(AbstractConnection, "_send_packed_command", after_breaking)
    return lambda: broken


@pytest.fixture(params=list(FIXTURES))
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty Redis, then of an empty cluster."""
    return emptied(request, request.param)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state() -> dict[str, Any]:
    """Settings of the store that a test module may replace."""
    return {}


@pytest.fixture
def settings(redis_url: str, state: dict[str, Any]) -> Settings:
    given = StateSettings(**{**QUIET, **state})
    limits = LimitSettings(batch_events=min(1000, given.dedupe_ids))
    return Settings(redis_url=redis_url, state=given, limits=limits)


@pytest.fixture
async def store(settings: Settings, clock: Clock) -> AsyncIterator[Store]:
    store = Store(settings, clock)
    yield store
    await store.close()
