"""The store on a Redis Cluster of three masters: every script stays on one slot."""

import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from service.local.embedded_redis import redis_executable
from service.settings import Settings, StateSettings
from service.state.records import Item
from service.state.store import Store
from tests.service.state.conftest import START_MS, Clock, event

SLOTS = 16384


def free_port() -> int:
    """A port whose cluster bus port, 10,000 above, is a port too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    ports = [free_port() for _ in range(3)]
    folders: list[Path] = [tmp_path_factory.mktemp("node") for _ in ports]
    processes = [
        subprocess.Popen(
            [
                redis_executable(),
                *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""),
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
            ],
            stdout=subprocess.DEVNULL,
        )
        for port, folder in zip(ports, folders, strict=True)
    ]
    try:
        join(ports)
        yield f"redis+cluster://127.0.0.1:{ports[0]}"
    finally:
        for process in processes:
            process.kill()
            process.wait()


def join(ports: list[int]) -> None:
    nodes = [redis.Redis(port=port) for port in ports]
    deadline = time.monotonic() + 60
    for index, node in enumerate(nodes):
        while True:
            try:
                node.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        first, last = SLOTS * index // len(nodes), SLOTS * (index + 1) // len(nodes)
        node.execute_command("CLUSTER ADDSLOTS", *range(first, last))
    for node in nodes[1:]:
        node.execute_command("CLUSTER MEET", "127.0.0.1", ports[0])
    for node in nodes:
        while node.execute_command("CLUSTER INFO").get("cluster_state") != "ok":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        node.close()


@pytest.fixture
async def store(cluster_url: str, clock: Clock) -> AsyncIterator[Store]:
    state = StateSettings(clock_skew_s=0)
    store = await Store.connect(Settings(redis_url=cluster_url, state=state), clock)
    yield store
    await store.close()


async def test_users_live_and_die_on_a_cluster(store: Store, clock: Clock) -> None:
    users = [f"u{number}" for number in range(100)]
    batch = [event(user, number) for number in range(9) for user in users]
    assert set(await store.events.accept(batch, START_MS)) == {"accepted"}
    assert set(await store.events.accept(batch, START_MS)) == {"duplicate"}
    assert await store.users.due_count() == 100

    claims = await store.work.claim(100)
    assert {claim.user_id for claim in claims} == set(users)
    assert await store.work.extend(claims) == [True] * 100
    for claim in claims[:50]:
        assert await store.work.commit(claim, "text", "m", "p", 9)
    for claim in claims[50:]:
        assert await store.work.bury(claim, "bad", 9)
    assert await store.dead_letters.count() == 50
    letters = await store.dead_letters.list(100)
    assert await store.dead_letters.retry(letters[0].id) == "retried"
    assert await store.dead_letters.drop(letters[1].id)
    assert (await store.users.read(claims[0].user_id)).pending == 0
    for user in users:
        assert await store.users.delete(user)
    assert await store.dead_letters.count() == 0


async def test_items_evidence_and_scores_live_on_a_cluster(store: Store, clock: Clock) -> None:
    await store.items.put_many([Item(f"i{number}", "t", picture="a" * 64) for number in range(60)])
    for claim in await store.items.claim(60):
        assert await store.items.commit_summary(claim, "text", "m")
    items = await store.items.get_many([f"i{number}" for number in range(60)])
    assert len(items) == 60
    assert all(item.described for item in items.values())
    page, cursor = await store.items.page(50)
    rest, end = await store.items.page(50, cursor)
    assert (len(page), len(rest), end) == (50, 10, None)
    await store.evidence.record(["i1", "i2"], ["i3"])
    assert set(await store.evidence.neighbours(["i1"], 5)) == {"i2", "i3"}
    assert await store.evidence.popular(5) == ["i2", "i1"]
    assert await store.scores.write("u", "s", {"i1": (1, 0.5)}, clock())
    assert await store.items.delete("i1")
    assert await store.items.count() == 59
