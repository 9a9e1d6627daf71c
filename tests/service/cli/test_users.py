"""`tastestream users erase` leaves nothing of the user in Redis nor, with `--rewrite-aof`, in its files."""

from pathlib import Path

import pytest

from service.settings import Settings
from service.state.store import Store
from tests.redis_servers import RedisCluster, admin_of, all_keys, on_a_cluster
from tests.service.cli.conftest import Run, accept, event, on_store

SECRET = "a-very-private-item"


async def fill(store: Store) -> None:
    """One user with a summary, a dead letter and pending events, and another user."""
    await accept(store, *(event("ann", number, item_id=SECRET) for number in range(2)))
    (claim,) = await store.summaries.claim(1)
    assert await store.summaries.commit(claim, f"likes {SECRET}", "m", "p", 1)
    (claim,) = await store.summaries.claim(1)
    assert await store.summaries.dead_letter(claim, "bad", 1) == "dead_lettered"
    await accept(store, *(event("ann", number, item_id=SECRET) for number in range(2, 5)), event("bob", 0))


@pytest.fixture
def filled(settings: Settings) -> Settings:
    on_store(settings, fill)
    return settings


def test_it_prints_what_was_erased_and_leaves_nothing_but_the_tombstone(
    filled: Settings, tastestream: Run, redis_url: str
) -> None:
    ended = tastestream("users", "erase", "ann", "--yes")
    assert ended.out == (
        "erased: the summary, 3 pending events, 1 dead letters, 5 logged events, and all other keys of the user\n"
    )
    with admin_of(redis_url) as admin:
        kept = all_keys(admin)
        assert [key for key in kept if b"ann" in key] == [key for key in kept if key.endswith(b":x:ann")]
    assert on_store(filled, lambda store: store.users.read("bob")).pending == 1
    assert tastestream("users", "erase", "ann", "--yes").out == "nothing was stored about this user\n"


def test_it_asks_for_confirmation(filled: Settings, tastestream: Run) -> None:
    ended = tastestream("users", "erase", "ann", answer="n\n")
    assert ended.code == 1
    assert "Erase everything about 'ann' permanently?" in ended.out + ended.err
    assert on_store(filled, lambda store: store.users.read("ann")).pending == 3


class TestFiles:
    @pytest.fixture
    def files(self, request: pytest.FixtureRequest, redis_url: str) -> list[Path]:
        """The append-only files of the server or cluster."""
        one = "cluster" not in redis_url
        folder: Path = request.getfixturevalue("redis_server" if one else "redis_cluster").folder
        found = [path for path in folder.rglob("*") if path.is_file() and ".aof" in path.name]
        assert found
        return found

    def test_erased_data_is_gone_from_the_file_when_the_command_ends(
        self, filled: Settings, tastestream: Run, files: list[Path]
    ) -> None:
        tastestream("users", "erase", "ann", "--yes")
        assert any(SECRET.encode() in path.read_bytes() for path in files), "until a rewrite"
        ended = tastestream("users", "erase", "ann", "--yes", "--rewrite-aof")
        assert "rewrote the append-only files of 1 servers" in ended.out
        assert not any(SECRET.encode() in path.read_bytes() for path in files)

    @on_a_cluster
    def test_every_server_of_a_cluster_rewrites_its_file(
        self, filled: Settings, tastestream: Run, files: list[Path], redis_cluster: RedisCluster
    ) -> None:
        ended = tastestream("users", "erase", "ann", "--yes", "--rewrite-aof")
        assert "rewrote the append-only files of 3 servers" in ended.out
        assert not any(SECRET.encode() in path.read_bytes() for path in files)


def test_a_server_without_an_append_only_file_is_counted(filled: Settings, tastestream: Run, redis_url: str) -> None:
    with admin_of(redis_url) as admin:
        admin.config_set("appendonly", "no")
        try:
            ended = tastestream("users", "erase", "ann", "--yes", "--rewrite-aof")
        finally:
            admin.config_set("appendonly", "yes")
    assert "rewrote the append-only files of 0 servers; 1 have none" in ended.out
