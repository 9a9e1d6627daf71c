"""Whoever waits for the work of a process learns that it has ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from model_store.serving.processes import Child, ChildFailed
from service.local.watch import unless_one_ends
from tests.service.serving import until


@asynccontextmanager
async def running(name: str, script: str, folder: Path) -> AsyncIterator[Child]:
    child = Child(name, ["sh", "-c", script], {}, folder / f"{name}.log")
    await child.start()
    try:
        yield child
    finally:
        await child.stop()


async def test_the_end_of_a_process_ends_the_work_that_needs_it(tmp_path: Path) -> None:
    cancelled = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with running("alive", "sleep 600", tmp_path) as alive, running("dying", "echo oh; exit 3", tmp_path) as dying:
        async with asyncio.timeout(60):
            with pytest.raises(ChildFailed) as failed:
                await unless_one_ends([alive, dying], forever())
        assert not alive.ended()
    assert str(failed.value) == f"dying ended with status 3. Its log, {tmp_path / 'dying.log'}, ends with:\n    oh"
    assert cancelled.is_set()


async def test_a_killed_process_is_reported_with_its_signal(tmp_path: Path) -> None:
    async with running("killed", "kill -KILL $$", tmp_path) as killed:
        with pytest.raises(ChildFailed, match=r"killed was killed by SIGKILL \(status -9\). Its log"):
            await unless_one_ends([killed], asyncio.sleep(600))


async def test_work_that_fails_because_a_process_ends_reports_the_process(tmp_path: Path) -> None:
    async with running("server", "read line; exit 4", tmp_path) as server:

        async def ask() -> None:
            raise ConnectionResetError

        # Its standard input is empty: it has ended or is about to.
        with pytest.raises(ChildFailed, match="server ended with status 4"):
            await unless_one_ends([server], ask())


async def test_work_is_done_while_all_processes_run(tmp_path: Path) -> None:
    async def fails() -> None:
        raise ValueError("its own fault")

    later = Child("later", ["true"], {}, tmp_path / "later.log")
    async with running("alive", "sleep 600", tmp_path) as alive:
        assert await unless_one_ends([alive, later], asyncio.sleep(0, "done")) == "done"
        with pytest.raises(ValueError, match="its own fault"):
            await unless_one_ends([alive], fails())


async def test_a_cancellation_reaches_the_work(tmp_path: Path) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with running("alive", "sleep 600", tmp_path) as alive:
        waiting = asyncio.create_task(unless_one_ends([alive], work()))
        await until(started.is_set)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert ended.is_set()
