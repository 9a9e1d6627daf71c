"""A store on an empty Redis, and workers that a test starts and stops."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from model_store.signals import Signals
from service.metrics import Metrics
from service.settings import Settings
from service.settings.state import StateSettings
from service.settings.worker import WorkerSettings
from service.state.records import Event, Item
from service.state.store import Store
from tests.workers.doubles import RecordingSummarizer
from workers import embedders
from workers.job import Summarizer
from workers.run import work

NOW_MS = 1_750_000_000_000
Start = Callable[..., Awaitable["Worker"]]


async def until(condition: Callable[[], Awaitable[bool]], deadline_s: float = 300.0) -> None:
    """Wait for `condition`; fails after `deadline_s` seconds."""
    end = time.monotonic() + deadline_s
    while not await condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.01)


def event(user: str, number: int | str, **fields: Any) -> Event:
    """An event whose id and item contain its user and number."""
    return Event(f"{user}-{number}", user, f"{user}-{number}", **{"type": "click", "timestamp_ms": NOW_MS, **fields})


async def put(store: Store, events: list[Event]) -> None:
    """Put the items of `events` into the catalogue, titled with their ids, and accept the events."""
    await store.items.put_many([Item(item_id, item_id) for item_id in {e.item_id for e in events}])
    assert set(await store.events.accept(events, time.time_ns() // 1_000_000)) == {"accepted"}


async def text(store: Store, user: str) -> str:
    summary = (await store.users.read(user)).summary
    return summary.text if summary else ""


class Worker:
    """`workers.run.work` as a task. `engine` writes for all tenants except the `others`, which are named."""

    def __init__(self, settings: Settings, engine: RecordingSummarizer, **others: RecordingSummarizer) -> None:
        self.metrics = Metrics()
        self.stop = asyncio.Event()
        signals = Signals(settings.signals.vocabulary())
        first = Summarizer(engine, "prompt", signals)
        summarizers = dict.fromkeys(settings.tenant_names, first)
        summarizers |= {name: Summarizer(other, "prompt", signals) for name, other in others.items()}
        self.task = asyncio.create_task(work(settings, summarizers, self.metrics, self.stop))

    async def drain(self) -> None:
        self.stop.set()
        await self.task

    def count(self, kind: str, outcome: str) -> float:
        """How many claims ended with this outcome."""
        return self.metrics.jobs.labels(kind, outcome)._value.get()

    def folds(self, outcome: str) -> float:
        return self.count("summarize", outcome)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def state() -> dict[str, Any]:
    """Settings of the store that a test may replace."""
    return {}


@pytest.fixture
def worker_settings() -> dict[str, Any]:
    """Settings of the worker that a test may replace."""
    return {}


@pytest.fixture
def settings(redis_url: str, state: dict[str, Any], worker_settings: dict[str, Any], tmp_path: Path) -> Settings:
    quick = {"buckets": 4, "max_wait_s": 0.05, "retry_initial_s": 0.02, "retry_max_s": 0.1, "clock_skew_s": 0.0}
    return Settings(
        redis_url=redis_url,
        data_dir=tmp_path,
        state=StateSettings(**{"redis_timeout_s": 20.0, **quick, **state}),
        worker=WorkerSettings(**{"poll_s": 0.02, "drain_s": 60, **worker_settings}),
    )


@pytest.fixture
def quick_embedders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promotions of embedders, and servers that come and go, are noticed at once."""
    for name in ("_KNOWN_S", "_POINTER_S"):
        monkeypatch.setattr(embedders, name, 0.02)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    store = Store(settings)
    yield store
    await store.close()


@pytest.fixture
async def start(settings: Settings, store: Store) -> AsyncIterator[Start]:
    """Starts a worker with a given engine; all are drained at the end."""
    workers: list[Worker] = []

    async def starting(engine: RecordingSummarizer, given: Settings = settings) -> Worker:
        workers.append(Worker(given, engine))
        return workers[-1]

    yield starting
    for worker in workers:
        await worker.drain()
