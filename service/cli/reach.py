"""Which Redis a command talks to: the one that is set, or the embedded one of a running `tastestream up`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio
import redis.exceptions

from service.errors import NotReady
from service.local.redis import socket_of
from service.settings import Settings
from service.state.store import Store

_TIMEOUT_S = 5.0


@asynccontextmanager
async def reached_store(settings: Settings) -> AsyncIterator[Store]:
    """The store that the settings name, or else that of the data folder's running `up`.

    Raises:
        NotReady: there is neither; the message says what to set.
        StateUnavailable: Redis does not answer.
    """
    store = await Store.connect(await reached(settings))
    try:
        await store.ping()
        yield store
    finally:
        await store.close()


async def reached(settings: Settings) -> Settings:
    """The settings with a `redis_url`; raises NotReady like `reached_store`."""
    if settings.redis_url is not None:
        return settings
    path = socket_of(settings.data_dir / "redis")
    if path is None or not await _answers(path):
        raise NotReady(
            f"no Redis: set TASTESTREAM_REDIS_URL, or start `tastestream up` on the data folder "
            f"{settings.data_dir} (another one: set TASTESTREAM_DATA_DIR)"
        )
    return settings.model_copy(update={"redis_url": f"unix://{path}"})


async def _answers(path: str) -> bool:
    client = redis.asyncio.Redis(unix_socket_path=path, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
    try:
        return bool(await client.ping())
    except (redis.exceptions.RedisError, OSError):
        return False
    finally:
        await client.aclose()
