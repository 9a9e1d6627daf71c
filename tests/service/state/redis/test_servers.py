"""What the servers say about themselves, added up."""

import time

import pytest

from service.errors import StateUnavailable
from service.settings import Settings
from service.state.redis import servers
from service.state.store import Store
from tests.redis_servers import admin_of


async def test_memory_files_and_replicas_are_those_of_the_servers(store: Store, redis_url: str) -> None:
    state = await store.servers.state()
    assert state.memory_used == pytest.approx(sum(used for used, _ in await store.servers.memory()), rel=0.2)
    assert (state.memory_max, state.replicas) == (0, 0)
    with admin_of(redis_url) as admin:
        kept = set(admin.config_get("appendonly").values())
    assert state.aof_ok == (kept == {"yes"})


async def test_one_server_without_an_append_only_file_is_enough_to_say_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {"aof_enabled": 1, "aof_last_write_status": "ok", "aof_last_bgrewrite_status": "ok"}
    good: dict[str, object] = {"used_memory": 1, "maxmemory": 10, "connected_slaves": 2, **written}
    info = dict(good)

    async def answers(*_: object) -> list[dict[str, object]]:
        return [good, info]

    monkeypatch.setattr(store.servers, "_info", answers)
    state = await store.servers.state()
    assert (state.aof_ok, state.memory_used, state.memory_max, state.replicas) == (True, 2, 20, 2)
    for fault in ({"aof_enabled": 0}, {"aof_last_write_status": "err"}, {"aof_last_bgrewrite_status": "err"}):
        info.clear()
        info |= {**good, **fault, "connected_slaves": 0}
        state = await store.servers.state()
        assert (state.aof_ok, state.replicas) == (False, 0), fault


async def test_the_share_of_memory_is_that_of_the_fullest_server(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {
        "aof_enabled": 1,
        "aof_last_write_status": "ok",
        "aof_last_bgrewrite_status": "ok",
        "connected_slaves": 0,
    }
    memory = [(10, 100), (90, 100), (500, 0)]

    async def answers(*_: object) -> list[dict[str, object]]:
        return [{"used_memory": used, "maxmemory": most, **written} for used, most in memory]

    monkeypatch.setattr(store.servers, "_info", answers)
    assert (await store.servers.state()).memory_share == 0.9
    del memory[:2]
    assert (await store.servers.state()).memory_share == 0, "without maxmemory there is no share"


@pytest.mark.parametrize("ahead_s", [-7.0, 7.0])
async def test_the_difference_of_the_clocks_is_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    assert abs((await store.servers.state()).clock_skew_s) < 1
    here = time.time
    monkeypatch.setattr(servers.time, "time", lambda: here() + ahead_s)
    assert (await store.servers.state()).clock_skew_s == pytest.approx(ahead_s, abs=1)


async def test_a_redis_that_does_not_answer_is_unavailable() -> None:
    store = Store(Settings(redis_url="redis://127.0.0.1:1"))
    with pytest.raises(StateUnavailable):
        await store.servers.state()
    await store.close()
