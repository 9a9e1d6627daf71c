"""The client of one Redis or of a Redis Cluster, chosen by the URL's scheme.

`redis://`, `rediss://` and `unix://` name one server; `redis+cluster://` and `rediss+cluster://` any node of a cluster.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from hiredis import pack_command
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _AsyncHiredisParser
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

from model_store.engine.retry_budget import RetryBudget
from service.settings.state import StateSettings
from service.state.redis.retries import BudgetedRetry

C = TypeVar("C", bound=AbstractConnection)
T = TypeVar("T")
Client = Redis | RedisCluster
Argument = str | bytes | int | float
CLUSTER = "+cluster://"
_SLOT_CONNECTIONS = 2
"""The client reads the slot table on connections of its own."""


def call_timeout_s(settings: StateSettings) -> float:
    """How long one call may wait for Redis, including all retries."""
    waits = settings.wait_replicas or settings.wait_aof
    return settings.redis_timeout_s + (settings.replication_timeout_s if waits else 0.0)


def connect(url: str, settings: StateSettings, retries: RetryBudget) -> Client:
    """A client that connects on first use. Raises ValueError for an invalid URL.

    Args:
        retries: the budget for its retries.
    """
    timeout = settings.redis_timeout_s
    options: Any = {"protocol": 2, "socket_timeout": call_timeout_s(settings), "socket_connect_timeout": timeout}
    if CLUSTER in url:
        cluster = RedisCluster.from_url(
            url.replace(CLUSTER, "://", 1),
            # The pipelines retry. Before a retry, the client would close all connections, even those in use.
            retry=Retry(NoBackoff(), 0),
            max_connections=settings.redis_connections + _SLOT_CONNECTIONS,
            **options,
        )
        # The client has no parameter for the class: it is set for the nodes found later, and for those in the URL.
        guarded = _guarded(cluster.connection_kwargs["connection_class"])
        cluster.connection_kwargs["connection_class"] = guarded
        for node in cluster.startup_nodes:
            node.connection_class = guarded
        return cluster
    pool = BlockingConnectionPool.from_url(
        url,
        retry=BudgetedRetry(retries),
        max_connections=settings.redis_connections,
        timeout=timeout,
        **options,
    )
    pool.connection_class = _guarded(pool.connection_class)
    return Redis.from_pool(pool)


def _guarded(connection_class: type[C]) -> type[C]:
    return type("TastestreamConnection", (_Connection, connection_class), {})


class _Connection(AbstractConnection):
    """Packs commands in C, because Python would take most of an event's time, and raises ConnectionError when lost."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name, *rest = args
        words = name.split() if isinstance(name, str) else [name]
        return [pack_command((*words, *rest))]

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        await self._guard(super().send_packed_command(command, check_health))

    async def read_response(self, *args: Any, **options: Any) -> Any:
        # Most replies to a pipeline arrive together. A timer for each would cost more than all else.
        if not args and not options and (reply := self._buffered()) is not NOT_ENOUGH_DATA:
            if isinstance(reply, Disconnected):
                await self.disconnect(nowait=True)
            if isinstance(reply, RedisError):
                raise reply
            return reply
        return await self._guard(super().read_response(*args, **options))

    async def _guard(self, call: Awaitable[T]) -> T:
        """Make a call of the client, and close the connection if it is cancelled.

        Otherwise the next commands would read the replies to this one.

        Raises:
            ConnectionError: the connection was closed during the call. After a failed call, the cluster's client closes
                the connections of all calls and removes their streams (AttributeError). uvloop raises a RuntimeError
                when it writes to a connection at the instant in which it breaks.
            CancelledError: also for a cancellation that the client lost. Before Python 3.12, its `asyncio.wait_for`
                drops one that arrives together with the result.
        """
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        try:
            result = await call
            if task and task.cancelling() > cancellations:
                raise asyncio.CancelledError
        except (AttributeError, RuntimeError) as error:
            closed = error.obj is None if isinstance(error, AttributeError) else "closed" in str(error)
            if not closed:
                raise
            raise Disconnected(f"closed meanwhile: {error}") from error
        except asyncio.CancelledError:
            await self.disconnect(nowait=True)
            raise
        return result

    def _buffered(self) -> Any:
        """A reply that was read from the socket together with an earlier one."""
        parser = self._parser
        if not isinstance(parser, _AsyncHiredisParser) or not parser._connected:
            return NOT_ENOUGH_DATA
        reader: Any = parser._reader
        return reader.gets()
