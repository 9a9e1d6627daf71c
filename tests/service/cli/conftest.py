"""The `tastestream` command against a real Redis, in this process."""

import asyncio
import io
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from service.cli import terminal
from service.cli.main import main
from service.settings import Settings
from service.settings.state import StateSettings
from service.state.records import Event
from service.state.store import Store

T = TypeVar("T")
NOW_MS = 1_750_000_000_000
BUCKETS = 4


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    state = StateSettings(buckets=BUCKETS, clock_skew_s=0, block_size=1, redis_timeout_s=20)
    return Settings(redis_url=redis_url, data_dir=tmp_path / "data", state=state)


@pytest.fixture
def tastestream(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Runs `tastestream` with the given arguments and with `answer` as its input."""
    monkeypatch.setenv("TASTESTREAM_REDIS_URL", settings.redis_url or "")
    monkeypatch.setenv("TASTESTREAM_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("TASTESTREAM_STATE__BUCKETS", str(BUCKETS))
    monkeypatch.setenv("TASTESTREAM_STATE__CLOCK_SKEW_S", "0")
    monkeypatch.setenv("TASTESTREAM_STATE__REDIS_TIMEOUT_S", "20")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(terminal.out, "width", 200)

    def run(*arguments: str, answer: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["tastestream", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        capsys.readouterr()
        code: Any = 0
        mask = os.umask(0o022)
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            os.umask(mask)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


def on_store(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    """What `work` returns, on a new store."""

    async def running() -> T:
        store = Store(settings)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(running())


def event(user: str, number: int | str, **fields: Any) -> Event:
    """An event whose id and item contain its user and number."""
    given = {"item_id": f"item-{number}", "type": "click", "timestamp_ms": NOW_MS, **fields}
    return Event(event_id=f"{user}-{number}", user_id=user, **given)


async def accept(store: Store, *events: Event) -> None:
    assert set(await store.events.accept(events, time.time_ns() // 1_000_000)) == {"accepted"}
