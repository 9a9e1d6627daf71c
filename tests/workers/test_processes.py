"""I2 and I4 with real worker processes, on one Redis and on a cluster; tests/faults has many more kill points."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.settings import Settings
from service.state.records import Item
from service.state.store import Store
from tests.faults.summarizer import SummarizerServer
from tests.redis_servers import on_both
from tests.service.pictures.pictures import picture
from tests.service.serving import serving
from tests.workers.conftest import event, put, text, until

pytestmark = on_both
Spawn = Callable[[], subprocess.Popen[bytes]]
LOG = "worker.log"


@pytest.fixture
def state() -> dict[str, Any]:
    return {"lease_s": 1.0}


@pytest.fixture
async def summarizer() -> AsyncIterator[SummarizerServer]:
    async with SummarizerServer() as server:
        yield server


@pytest.fixture
def spawn(settings: Settings, summarizer: SummarizerServer, tmp_path: Path) -> Iterator[Spawn]:
    """Starts `tastestream worker` processes; those that still run at the end are killed."""
    environment = {
        **os.environ,
        "TASTESTREAM_REDIS_URL": str(settings.redis_url),
        "TASTESTREAM_DATA_DIR": str(tmp_path),
        "TASTESTREAM_SUMMARIZER__URL": summarizer.url,
        "TASTESTREAM_SUMMARIZER__MODEL": "double",
        "TASTESTREAM_STATE__BUCKETS": str(settings.state.buckets),
        "TASTESTREAM_STATE__LEASE_S": str(settings.state.lease_s),
        "TASTESTREAM_STATE__MAX_WAIT_S": str(settings.state.max_wait_s),
        "TASTESTREAM_WORKER__POLL_S": "0.05",
        "TASTESTREAM_PICTURES__ALLOW_PRIVATE_ADDRESSES": "true",
        "TASTESTREAM_WORKER__DRAIN_S": "60",
    }
    started: list[subprocess.Popen[bytes]] = []

    def spawning() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "service.cli.main", "worker"]
        with (tmp_path / LOG).open("ab") as log:
            started.append(subprocess.Popen(command, env=environment, stderr=log))
        return started[-1]

    yield spawning
    for process in started:
        process.kill()
        process.wait()


async def is_folded(store: Store, user: str, count: int) -> bool:
    return await text(store, user) == " ".join(f"{user}-{number}" for number in range(count))


async def test_a_worker_killed_between_the_models_answer_and_the_commit_loses_and_repeats_nothing(
    store: Store, summarizer: SummarizerServer, spawn: Spawn
) -> None:
    victim = spawn()

    async def kill(words: list[str]) -> None:
        if victim.poll() is None:
            victim.kill()
            victim.wait()

    summarizer.before_answer = kill
    await put(store, [event("u1", number) for number in range(6)])
    await put(store, [event("u2", number) for number in range(3)])
    await until(lambda: _true(bool(summarizer.asked) and victim.poll() is not None))
    assert await text(store, "u1") == await text(store, "u2") == ""

    spawn()
    await until(lambda: is_folded(store, "u1", 6))
    await until(lambda: is_folded(store, "u2", 3))
    assert (await store.users.read("u1")).pending == 0
    assert await store.dead_letters.count() == 0


async def test_a_worker_paused_past_its_lease_cannot_commit_what_another_folded_meanwhile(
    store: Store, summarizer: SummarizerServer, spawn: Spawn
) -> None:
    first = spawn()
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hold_the_first(words: list[str]) -> None:
        if not asked.is_set():
            asked.set()
            await answer.wait()

    summarizer.before_answer = hold_the_first
    await put(store, [event("u1", number) for number in range(3)])
    await asyncio.wait_for(asked.wait(), 300)
    first.send_signal(signal.SIGSTOP)
    answer.set()
    second = spawn()
    await until(lambda: is_folded(store, "u1", 3))
    await put(store, [event("u1", number) for number in range(3, 6)])
    await until(lambda: is_folded(store, "u1", 6))
    second.send_signal(signal.SIGTERM)
    await until(lambda: _true(second.poll() is not None))

    first.send_signal(signal.SIGCONT)
    await put(store, [event("u2", number) for number in range(3)])
    await until(lambda: is_folded(store, "u2", 3))
    read = await store.users.read("u1")
    assert (await text(store, "u1")).split() == [f"u1-{number}" for number in range(6)]
    assert read.summary is not None
    assert read.summary.version == 2


async def test_a_worker_killed_while_it_fetches_a_picture_loses_none(store: Store, spawn: Spawn) -> None:
    victim = spawn()
    asked = 0

    async def show(request: Request) -> Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            victim.kill()
            victim.wait()
        return Response(picture())

    async with serving(Starlette(routes=[Route("/{name}", show)])) as url:
        await store.items.put_many([Item(f"i{n}", "title", picture_url=f"{url}/{n}") for n in range(5)], keep="picture")
        await until(lambda: _true(victim.poll() is not None))
        assert await store.pictures.count() == 5
        spawn()

        async def fetched() -> bool:
            items = await store.items.get_many([f"i{n}" for n in range(5)])
            return all(item.picture is not None and item.picture_url is None for item in items.values())

        await until(fetched)
        assert await store.pictures.count() == 0


async def test_sigterm_drains_a_worker(
    store: Store, summarizer: SummarizerServer, spawn: Spawn, tmp_path: Path
) -> None:
    worker = spawn()
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hold(words: list[str]) -> None:
        asked.set()
        await answer.wait()

    summarizer.before_answer = hold
    await put(store, [event("u1", number) for number in range(3)])
    await asyncio.wait_for(asked.wait(), 300)
    worker.send_signal(signal.SIGTERM)
    await until(lambda: _true(b'"draining"' in (tmp_path / LOG).read_bytes()))
    await put(store, [event("u2", number) for number in range(3)])
    answer.set()
    await until(lambda: _true(worker.poll() is not None))
    assert worker.returncode == 0
    assert await is_folded(store, "u1", 3)
    assert await text(store, "u2") == ""
    assert len(summarizer.asked) == 1


async def _true(value: bool) -> bool:
    return value
