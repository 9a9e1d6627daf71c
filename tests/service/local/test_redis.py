"""The embedded Redis keeps its data between starts, and is found only while it runs."""

from pathlib import Path

import redis.asyncio

from service.local.redis import EmbeddedRedis, running_url


async def test_data_survives_a_restart(tmp_path: Path) -> None:
    for value in (None, b"kept"):
        server = EmbeddedRedis(tmp_path / "redis", tmp_path / "redis.log")
        await server.start()
        client = redis.asyncio.Redis.from_url(server.url)
        assert await client.get("key") == value
        await client.set("key", "kept")
        await client.aclose()
        await server.stop()


async def test_a_server_is_found_by_its_folder_only_while_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    assert await running_url(folder) is None
    server = EmbeddedRedis(folder, tmp_path / "redis.log")
    await server.start()
    assert await running_url(folder) == server.url
    await server.stop()
    assert await running_url(folder) is None
