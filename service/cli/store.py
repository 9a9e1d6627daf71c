"""The store that a command uses: that of the settings, or that of a running `tastestream up`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from service.errors import NotReady
from service.settings import Settings

if TYPE_CHECKING:
    from service.state.store import Store


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator["Store"]:
    """The store that the settings name, or else that of the `up` that runs on the data folder.

    Raises:
        NotReady: there is neither; the message says what to set.
        StateUnavailable: Redis does not answer.
    """
    from service.state.store import Store

    store = Store(await with_redis_url(settings))
    try:
        await store.ping()
        yield store
    finally:
        await store.close()


async def with_redis_url(settings: Settings) -> Settings:
    """The settings with a `redis_url`. Raises NotReady like `opened_store`."""
    if settings.redis_url is not None:
        return settings
    from service.local.redis import running_url

    url = await running_url(settings.data_dir / "redis")
    if url is None:
        raise NotReady(
            f"no Redis: set TASTESTREAM_REDIS_URL, or start `tastestream up` on the data folder "
            f"{settings.data_dir} (TASTESTREAM_DATA_DIR names another)"
        )
    return settings.model_copy(update={"redis_url": url})
