"""The backup and the restore that docs/operating/upgrades.md describes, on a real Redis."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from service.settings import Settings
from tests.redis_servers import RedisServer, all_keys, executable, until
from tests.service.conftest import gateway_on

EVENTS = [{"user_id": f"user-{n % 7}", "item_id": f"item-{n}", "type": "like", "event_id": f"e{n}"} for n in range(40)]
LATER = [{"user_id": "user-1", "item_id": "item-1", "type": "view", "event_id": "later"}]


@contextmanager
def redis_in(folder: Path, *options: str) -> Iterator[RedisServer]:
    folder.mkdir(exist_ok=True)
    server = RedisServer(folder)
    server.start(*options)
    try:
        yield server
    finally:
        server.kill()


async def post(url: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    async with gateway_on(Settings(redis_url=url)) as gateway:
        answer = await gateway.ask("POST", "/events", events)
        assert answer.status_code == 202, answer.text
        counts: dict[str, Any] = answer.json()
        return counts


def contents(url: str) -> dict[bytes, Any]:
    """The content of every key."""
    with redis.Redis.from_url(url) as admin:
        return {key: admin.dump(key) for key in all_keys(admin)}


def test_a_restored_redis_has_everything_and_knows_what_it_accepted(tmp_path: Path) -> None:
    backup, restored = tmp_path / "backup.rdb", tmp_path / "restored"
    with redis_in(tmp_path / "old") as old:
        assert asyncio.run(post(old.url, EVENTS))["accepted"] == len(EVENTS)
        cli = [str(Path(executable()).parent / "redis-cli"), "-s", str(old.socket), "--rdb", str(backup)]
        subprocess.run(cli, check=True, capture_output=True)
        expected = contents(old.url)
        asyncio.run(post(old.url, LATER))
    assert len(expected) > 20

    restored.mkdir()
    backup.rename(restored / "backup.rdb")
    with redis_in(restored, "--dbfilename", "backup.rdb", "--appendonly", "no") as first, first.admin() as admin:
        assert contents(first.url) == expected
        admin.config_set("appendonly", "yes")
        until(lambda: not admin.info("persistence")["aof_rewrite_in_progress"], "the file is not written")
        until(lambda: not admin.info("persistence")["aof_rewrite_scheduled"], "the file is not written")

    with redis_in(restored) as again:
        assert contents(again.url) == expected
        sent_again = asyncio.run(post(again.url, [*EVENTS, *LATER]))
    assert (sent_again["accepted"], sent_again["duplicates"]) == (len(LATER), len(EVENTS))
