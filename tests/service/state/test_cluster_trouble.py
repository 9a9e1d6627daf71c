"""I1, I2 on a cluster whose masters hang or restart, and while a slot moves between them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
import redis
from redis.asyncio.connection import AbstractConnection

from service.errors import StateUnavailable
from service.settings import Settings
from service.settings.state import StateSettings
from service.state.store import Store
from tests.redis_servers import SLOTS, RedisCluster
from tests.service.state.conftest import QUIET, START_MS, Clock, break_once, event


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster to break, with a long timeout, so that the test decides what fails."""
    with RedisCluster(tmp_path_factory.mktemp("own"), node_timeout_ms=60_000) as cluster:
        yield cluster


@pytest.fixture
def state() -> dict[str, float]:
    return {"buckets": 64}


@pytest.fixture
async def store(own: RedisCluster, clock: Clock, state: dict[str, float]) -> AsyncIterator[Store]:
    store = Store(Settings(redis_url=own.url, state=StateSettings(**{**QUIET, **state})), clock)
    yield store
    await store.close()


@pytest.mark.parametrize("state", [{"buckets": 64, "redis_timeout_s": 3.0}], ids=["3 s"])
async def test_a_master_that_hangs_delays_no_caller_beyond_the_timeout(own: RedisCluster, store: Store) -> None:
    users = [f"u{number}" for number in range(60)]
    await store.events.accept([event(user, number) for user in users for number in range(3)], START_MS)
    os.kill(own.pid(0), signal.SIGSTOP)
    for _ in range(2):
        async with asyncio.timeout(90):
            reads = await asyncio.gather(*(store.users.read(user) for user in users), return_exceptions=True)
        failed = [read for read in reads if isinstance(read, StateUnavailable)]
        assert 0 < len(failed) < len(users)
    async with asyncio.timeout(90):
        claims = await store.summaries.claim(100)
    assert len(claims) == len(users) - len(failed), "the work on the other masters can be claimed"
    async with asyncio.timeout(90):
        sent = [store.events.accept([event(user, 3)], START_MS) for user in users]
        answers = dict(zip(users, await asyncio.gather(*sent, return_exceptions=True), strict=True))
    refused = {user for user, answer in answers.items() if isinstance(answer, StateUnavailable)}
    assert len(refused) == len(failed), "others in the same round trip were not refused"
    assert all(answers[user] == ["accepted"] for user in users if user not in refused)
    os.kill(own.pid(0), signal.SIGCONT)
    for user in users:
        assert set(await store.events.accept([event(user, 3)], START_MS)) <= {"accepted", "duplicate"}
        assert (await store.users.read(user)).pending == 4


class TestClosedByOthers:
    """When one call fails, the client closes all connections, even those that other calls are opening."""

    @pytest.mark.parametrize("before", [b"SETINFO", b"EVALSHA"])
    async def test_a_connection_is_opened_again(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, before: bytes
    ) -> None:
        await store.ping()
        await store.database.scripts.client.nodes_manager.aclose()
        break_once(monkeypatch, AbstractConnection.disconnect, before=before)
        assert (await store.users.read("u")).pending == 0

    async def test_the_first_connection_of_all_is_one_that_redis_did_not_answer(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        break_once(monkeypatch, AbstractConnection.disconnect, before=b"COMMAND")
        with pytest.raises(StateUnavailable):
            await store.users.read("u")
        assert (await store.users.read("u")).pending == 0


async def test_restarted_masters_have_everything_that_was_acknowledged(own: RedisCluster, store: Store) -> None:
    batch = [event(f"u{number}", number) for number in range(60)]
    assert set(await store.events.accept(batch, START_MS)) == {"accepted"}
    for node in own.masters:
        own.kill(node)
    with pytest.raises(StateUnavailable):
        await store.ping()
    for node in own.masters:
        own.start(node)
    own.settle()
    assert set(await store.events.accept(batch, START_MS)) == {"duplicate"}


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_slot_that_moves_loses_and_repeats_no_acknowledged_event(
    own: RedisCluster, store: Store, reverse: bool
) -> None:
    """Key by key, with events, claims and commits after each."""
    bucket = store.summaries._keys.users[7]
    users = [user for user in (f"u{number}" for number in range(800)) if store.summaries._keys.bucket(user) == 7][:8]
    accepted = {user: [f"{user}-{number}" for number in range(4)] for user in users}
    await store.events.accept([event(user, number) for user in users for number in range(4)], START_MS)
    move = Move(own, bucket.due("summarize"))
    for step, key in enumerate(sorted(move.keys(), reverse=reverse)):
        move.key(key)
        for user in users:
            with suppress(StateUnavailable):
                assert await store.events.accept([event(user, f"step{step}")], START_MS) == ["accepted"]
                accepted[user].append(f"{user}-step{step}")
        with suppress(StateUnavailable):
            assert await store.summaries.claim(100) == []
    move.end()
    for user in users:
        await store.events.accept([event(user, "last")], START_MS)
    claims = {claim.key: [one.event_id for one in claim.pending] for claim in await store.summaries.claim(100)}
    assert claims == {user: [*ids, f"{user}-last"] for user, ids in accepted.items()}


class Move:
    """A slot on its way to the next master, as `redis-cli --cluster reshard` takes it, but key by key."""

    def __init__(self, cluster: RedisCluster, key: str) -> None:
        self._cluster = cluster
        with cluster.admin(0) as admin:
            self._slot = int(admin.execute_command("CLUSTER KEYSLOT", key))
        source = self._slot * len(cluster.masters) // SLOTS
        self._target = (source + 1) % len(cluster.masters)
        self.source = cluster.admin(source)
        with cluster.admin(self._target) as target:
            target.execute_command("CLUSTER SETSLOT", self._slot, "IMPORTING", _id(self.source))
            self.source.execute_command("CLUSTER SETSLOT", self._slot, "MIGRATING", _id(target))

    def keys(self) -> list[bytes]:
        """The keys that are still to be moved."""
        found: list[bytes] = self.source.execute_command("CLUSTER GETKEYSINSLOT", self._slot, 10_000)
        return sorted(found)

    def key(self, key: bytes) -> None:
        assert self.source.migrate("127.0.0.1", self._cluster.ports[self._target], key, 0, 5000) == b"OK"

    def end(self) -> None:
        assert self.keys() == [], "something was written after the move"
        with self._cluster.admin(self._target) as target:
            new_owner = _id(target)
        for node in (self._target, *self._cluster.masters):
            with self._cluster.admin(node) as admin:
                admin.execute_command("CLUSTER SETSLOT", self._slot, "NODE", new_owner)
        self.source.close()


def _id(node: redis.Redis) -> str:
    return str(node.execute_command("CLUSTER MYID").decode())
