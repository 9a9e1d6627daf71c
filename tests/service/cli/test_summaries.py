"""`tastestream summaries rebuild` makes every user of the log due again, no faster than the workers fold."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from service.cli import rebuilding
from service.errors import StateUnavailable
from service.settings import Settings
from service.state.store import Store
from tests.redis_servers import RedisServer, admin_of
from tests.service.cli.conftest import Run, accept, event, on_store

USERS = [f"u{number}" for number in range(40)]


async def fill(store: Store) -> None:
    """Users with five events each, folded."""
    await accept(store, *(event(user, number) for user in USERS for number in range(5)))
    while claims := await store.summaries.claim(100):
        for claim in claims:
            text = " ".join(e.event_id for e in claim.pending)
            assert await store.summaries.commit(claim, text, "old@1", "p", len(claim.pending))


@pytest.fixture
def filled(settings: Settings) -> Settings:
    on_store(settings, fill)
    return settings


async def fold_all(store: Store) -> None:
    while claims := await store.summaries.claim(100):
        for claim in claims:
            words = [claim.base.text] if claim.base else []
            text = " ".join([*words, *(e.event_id for e in claim.pending)])
            assert await store.summaries.commit(claim, text, "new@2", "p", len(claim.pending))


def pending(settings: Settings) -> dict[str, int]:
    async def read(store: Store) -> dict[str, int]:
        return {user: (await store.users.read(user)).pending for user in USERS}

    return on_store(settings, read)


def test_all_users_are_folded_again_with_the_new_model(filled: Settings, tastestream: Run) -> None:
    ended = tastestream("summaries", "rebuild", "--yes")
    assert ended.code == 0
    assert "40 users with 200 events are folded again" in ended.out
    assert "200 events are pending" in ended.out
    assert set(pending(filled).values()) == {5}

    async def check(store: Store) -> None:
        await fold_all(store)
        for user in USERS:
            summary = (await store.users.read(user)).summary
            assert summary is not None
            assert summary.text.split() == [f"{user}-{number}" for number in range(5)]
            assert summary.model == "new@2"

    on_store(filled, check)


def test_only_the_named_users_are_rebuilt(filled: Settings, tastestream: Run) -> None:
    ended = tastestream("summaries", "rebuild", "--user", "u3", "--user", "u7", "--user", "unknown", "--yes")
    assert "2 users with 10 events are folded again" in ended.out
    assert "skipped: 1 users without events in the log" in ended.out
    assert {user for user, count in pending(filled).items() if count} == {"u3", "u7"}


def test_users_whose_summary_is_by_the_new_model_are_left_out(filled: Settings, tastestream: Run) -> None:
    tastestream("summaries", "rebuild", "--user", "u3", "--user", "u7", "--yes")
    on_store(filled, fold_all)
    ended = tastestream("summaries", "rebuild", "--outdated", "new@2", "--yes")
    assert "38 users with 190 events are folded again" in ended.out
    assert "skipped: 2 users whose summary is by that version" in ended.out
    assert {user for user, number in pending(filled).items() if not number} == {"u3", "u7"}


def test_users_whose_first_events_have_left_the_log_are_counted_and_kept(
    filled: Settings, tastestream: Run, redis_url: str
) -> None:
    with admin_of(redis_url) as admin:
        for bucket in range(4):
            ((first, _),) = admin.xrange(f"ts:{{b{bucket}}}:log", count=1)
            admin.xdel(f"ts:{{b{bucket}}}:log", first)
    ended = tastestream("summaries", "rebuild", "--yes")
    assert "36 users with 180 events are folded again" in ended.out
    assert "skipped: 4 users whose first events have left the log (--partial" in ended.out
    ended = tastestream("summaries", "rebuild", "--yes", "--partial")
    assert "40 users with 196 events are folded again" in ended.out


def test_it_asks_for_confirmation(filled: Settings, tastestream: Run) -> None:
    ended = tastestream("summaries", "rebuild", answer="n\n")
    assert ended.code == 1
    assert "Fold the events of all users in the log again? The log has 200 events" in ended.out + ended.err
    assert set(pending(filled).values()) == {0}


def test_without_a_log_there_is_nothing_to_rebuild_from(tastestream: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASTESTREAM_STATE__EVENT_LOG_SIZE", "0")
    ended = tastestream("summaries", "rebuild", "--yes")
    assert (ended.code, ended.err) == (
        1,
        "error: there is no event log to rebuild from: TASTESTREAM_STATE__EVENT_LOG_SIZE is 0\n",
    )


async def test_no_more_is_made_due_than_the_workers_fold(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "MAX_USERS", 2)
    monkeypatch.setattr(rebuilding, "POLL_S", 0.01)
    store = Store(settings)
    await fill(store)
    most = 0

    def report(stage: str, done: float, note: str) -> None:
        assert 0 <= done <= 1

    running = rebuilding.Rebuild(store, None, partial=False, max_pending=30, report=report)
    task = asyncio.create_task(running.run())
    while not task.done():
        most = max(most, await store.users.backlog())
        if most > 30:
            await fold_all(store)
        await asyncio.sleep(0)
    await task
    assert running.progress.users == {"rebuilt": 40}
    assert 30 < most <= 30 + 2 * 5
    await store.close()


async def test_a_ctrl_c_that_a_redis_call_swallowed_still_ends_the_rebuild(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(settings)
    await fill(store)
    asked = asyncio.Event()

    async def swallowing() -> int:
        asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        return 1000

    monkeypatch.setattr(store.users, "backlog", swallowing)
    running = rebuilding.Rebuild(store, None, partial=False, max_pending=10, report=lambda *_: None)
    task = asyncio.create_task(running.run())
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.close()


async def test_a_redis_that_is_killed_during_a_rebuild_has_lost_and_repeated_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "MAX_USERS", 1)
    server = RedisServer(tmp_path)
    server.start()
    store = Store(settings.model_copy(update={"redis_url": server.url}))
    await fill(store)

    def kill_at_7(stage: str, done: float, note: str) -> None:
        if note == "7 users":
            server.kill()

    with pytest.raises(StateUnavailable):
        await rebuilding.Rebuild(store, None, partial=False, max_pending=1000, report=kill_at_7).run()
    server.start()
    assert await store.users.backlog() == 7 * 5
    await rebuilding.Rebuild(store, None, partial=False, max_pending=1000, report=lambda *_: None).run()
    assert await store.users.backlog() == 40 * 5
    await fold_all(store)
    for user in USERS:
        summary = (await store.users.read(user)).summary
        assert summary is not None
        assert summary.text.split() == [f"{user}-{number}" for number in range(5)]
    await store.close()
    server.kill()


async def test_a_redis_that_is_short_of_memory_gets_no_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "POLL_S", 0.01)
    store = Store(settings)
    await fill(store)
    waited = asyncio.Event()
    short = True

    async def is_short() -> bool:
        return short

    def report(stage: str, done: float, note: str) -> None:
        if note == "0 users, paused: Redis is short of memory":
            waited.set()

    monkeypatch.setattr(store.memory, "short", is_short)
    task = asyncio.create_task(rebuilding.Rebuild(store, None, partial=False, max_pending=1000, report=report).run())
    await waited.wait()
    assert await store.users.backlog() == 0
    short = False
    await task
    assert await store.users.backlog() == 200
    await store.close()


def looks_for_room(settings: Settings) -> bool:
    """Whether a rebuild waits: its last command read the backlog."""
    with admin_of(settings.redis_url or "", decode_responses=True) as admin:
        return any(client["cmd"] == "get" for client in admin.client_list())


def test_an_interrupted_rebuild_says_where_to_resume_and_has_lost_nothing(
    filled: Settings, tastestream: Run, tmp_path: Path
) -> None:
    environment = {
        "TASTESTREAM_REDIS_URL": filled.redis_url or "",
        "TASTESTREAM_STATE__BUCKETS": "4",
        "COLUMNS": "200",
        "PYTHONPATH": ":".join(sys.path),
    }
    command = [sys.executable, "-m", "service.cli.main", "summaries", "rebuild", "--yes", "--max-pending", "20"]
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    guard = threading.Timer(60, process.kill)
    guard.start()
    deadline = time.monotonic() + 60
    while not sum(pending(filled).values()) or not looks_for_room(filled):
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate()
    guard.cancel()
    assert process.returncode == 130
    assert "interrupted; resume with --from-bucket 1" in printed
    assert "10 users with 50 events are folded again" in printed
    assert "Traceback" not in errors
    assert sorted(pending(filled).values()) == [0] * 30 + [5] * 10
    ended = tastestream("summaries", "rebuild", "--yes", "--from-bucket", "1")
    assert "30 users with 150 events are folded again" in ended.out
    assert set(pending(filled).values()) == {5}
