"""Commands use the Redis of the settings, else that of a running `up`, else they say what to set."""

import os
import signal
from pathlib import Path

import pytest

from service.cli.store import opened_store, with_redis_url
from service.errors import NotReady
from service.local.redis import EmbeddedRedis
from service.settings import Settings
from tests.service.serving import until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def embedded(settings: Settings) -> EmbeddedRedis:
    return EmbeddedRedis(settings.data_dir / "redis", settings.data_dir / "redis.log")


async def test_the_running_redis_of_the_data_folder_is_found_and_only_while_it_runs(settings: Settings) -> None:
    redis = embedded(settings)
    await redis.start()
    assert (await with_redis_url(settings)).redis_url == redis.url
    async with opened_store(settings) as store:
        assert await store.log.count() == 0
    await redis.stop()
    with pytest.raises(NotReady):
        await with_redis_url(settings)


async def test_a_redis_that_was_killed_is_not_taken_for_a_running_one(settings: Settings) -> None:
    redis = embedded(settings)
    await redis.start()
    async with opened_store(settings) as store:
        (process,) = await store.locks._scripts.run([("INFO", "server")])
    os.kill(process["process_id"], signal.SIGKILL)
    await until(redis.child.ended)
    with pytest.raises(NotReady, match="set TASTESTREAM_REDIS_URL, or start `tastestream up` on the data folder"):
        await with_redis_url(settings)
    again = embedded(settings)
    await again.start()
    assert (await with_redis_url(settings)).redis_url == again.url
    await again.stop()
    await redis.stop()


async def test_the_setting_wins_over_the_data_folder(settings: Settings) -> None:
    given = settings.model_copy(update={"redis_url": "redis://elsewhere"})
    assert await with_redis_url(given) is given
