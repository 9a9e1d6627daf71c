"""The store that a command uses: that of the settings, or that of a running `tastestream up`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from model_store.errors import UserError
from service.api_keys.file import no_such_tenant
from service.errors import NotReady
from service.names import DEFAULT_TENANT
from service.settings import Settings

if TYPE_CHECKING:
    from service.state.store import Store


def require_tenant(settings: Settings, tenant: str) -> None:
    """Raises UserError if the tenant does not exist."""
    if tenant not in settings.tenant_names:
        raise UserError(no_such_tenant(tenant))


@asynccontextmanager
async def opened_store(settings: Settings, tenant: str = DEFAULT_TENANT) -> AsyncIterator["Store"]:
    """A tenant's store in the Redis that the settings name, or else in that of the `up` that runs on the data folder.

    Raises:
        UserError: the tenant does not exist.
        NotReady: there is neither; the message says what to set.
        StateUnavailable: Redis does not answer.
    """
    from service.state.store import Store

    require_tenant(settings, tenant)
    store = Store(await with_redis_url(settings), tenant=tenant)
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
