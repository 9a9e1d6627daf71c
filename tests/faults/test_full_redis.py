"""I1, I2 under `maxmemory`: what does not fit is refused whole, the backlog can be drained, then events flow again."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from tests.faults.backend import SingleRedis
from tests.faults.client import body, numbered, user_of
from tests.faults.harness import PATIENT_S, Fleet, running_fleet
from tests.redis_servers import Admin, admin_of

ROOM = 1 << 20
LOGGED = 40
"""Events in the log: what it keeps stays when the backlog is drained."""
PADDING = {"note": "x" * 4000}


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SingleRedis]:
    server = SingleRedis(tmp_path_factory.mktemp("full"))
    yield server
    server.close()


@pytest_asyncio.fixture
async def fleet(server: SingleRedis, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    state = {"recents": 3, "event_log_size": LOGGED, "memory_reserve": 0}
    async with running_fleet(server, tmp_path_factory.mktemp("fleet"), **state) as fleet:
        yield fleet


def contents(admin: Admin) -> dict[bytes, bytes | None]:
    return {key: admin.dump(key) for key in admin.scan_iter(count=1000)}


async def test_a_full_redis_refuses_whole_is_drained_and_takes_again(fleet: Fleet, server: SingleRedis) -> None:
    (worker,) = fleet.workers
    users = fleet.new_users(40)
    await fleet.put_items(users, 12)
    worker.kill()
    fill_up(server)
    taken: list[str] = []
    async with httpx.AsyncClient(base_url=fleet.gateways[0].url, timeout=PATIENT_S, trust_env=False) as caller:
        for number in range(12):
            for user in users:
                await _send(caller, taken, [f"{user}-{number}"])
        refused = [one for user in users for one in numbered(user, range(12)) if one not in set(taken)]
        assert taken
        assert len(refused) > len(users)
        with admin_of(server.url) as admin:
            before = contents(admin)
            full = await caller.post("/events", json=[body(one, context=PADDING) for one in refused[-10:]])
            assert (full.status_code, full.json()["code"]) == (503, "state_unavailable")
            assert contents(admin) == before, "nothing is half accepted"

    worker.start()
    for user in users:
        fleet.client.story(user).acknowledged = [one for one in taken if user_of(one) == user]
    await fleet.judge(users)
    for user in users:
        await fleet.client.send([one for one in refused if user_of(one) == user][:1])
    await fleet.judge(users)


async def _send(caller: httpx.AsyncClient, taken: list[str], ids: list[str]) -> None:
    answer = await caller.post("/events", json=[body(one, context=PADDING) for one in ids])
    assert answer.status_code in {202, 503}, answer.text
    if answer.status_code == 202:
        taken += ids


def fill_up(server: SingleRedis) -> None:
    """Leave room for some events only."""
    with admin_of(server.url) as admin:
        used = int(admin.info("memory")["used_memory"])
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", used + ROOM)
