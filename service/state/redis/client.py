"""The client of one Redis or of a Redis Cluster, by the URL's scheme.

`redis://`, `rediss://` and `unix://` name one server; `redis+cluster://` and `rediss+cluster://`
any node of a cluster.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from hiredis import pack_command
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _AsyncHiredisParser
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

from service.settings import StateSettings

C = TypeVar("C", bound=AbstractConnection)
T = TypeVar("T")
Client = Redis | RedisCluster
Argument = str | bytes | int | float
CLUSTER = "+cluster://"
_ASKING_FOR_SLOTS = 2


def patience_s(settings: StateSettings) -> float:
    """The longest that one call waits for Redis, all tries together."""
    waits = settings.wait_replicas or settings.wait_aof
    return settings.redis_timeout_s + (settings.replication_timeout_s if waits else 0.0)


def connect(url: str, settings: StateSettings) -> Client:
    """A client that connects when it is first used. Raises ValueError for a URL that is none."""
    timeout, patience = settings.redis_timeout_s, patience_s(settings)
    if CLUSTER in url:
        cluster = RedisCluster.from_url(
            url.replace(CLUSTER, "://", 1),
            protocol=2,
            # The pipelines retry; the client would first close all connections, even those in use.
            retry=Retry(NoBackoff(), 0),
            max_connections=settings.redis_connections + _ASKING_FOR_SLOTS,
            socket_timeout=patience,
            socket_connect_timeout=timeout,
        )
        # The client takes no class of connections: one for the nodes that the URL names, one for those it finds.
        ours = _ours(cluster.connection_kwargs["connection_class"])
        cluster.connection_kwargs["connection_class"] = ours
        for node in cluster.startup_nodes:
            node.connection_class = ours
        return cluster
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2),
        max_connections=settings.redis_connections,
        timeout=timeout,
        socket_timeout=patience,
        socket_connect_timeout=timeout,
    )
    pool.connection_class = _ours(pool.connection_class)
    return Redis.from_pool(pool)


def _ours(of_client: type[C]) -> type[C]:
    return type("TastestreamConnection", (_Connection, of_client), {})


class _Connection(AbstractConnection):
    """Packs commands in C, because Python would take most of an event's time, and raises one error for any failure."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name, *rest = args
        words = name.split() if isinstance(name, str) else [name]
        return [pack_command((*words, *rest))]

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        await self._guarded(super().send_packed_command(command, check_health))

    async def read_response(self, *args: Any, **options: Any) -> Any:
        # Most replies to a pipeline come together. Each would begin and end a timer, at more cost than all else of it.
        if not args and not options and (reply := self._received()) is not NOT_ENOUGH_DATA:
            if isinstance(reply, Disconnected):
                await self.disconnect(nowait=True)
            if isinstance(reply, RedisError):
                raise reply
            return reply
        return await self._guarded(super().read_response(*args, **options))

    async def _guarded(self, call: Awaitable[T]) -> T:
        """Make a call of the client, and close the connection if the call is cancelled.

        Replies that nobody reads would be taken for those of the next commands.
        """
        try:
            with _Call():
                return await call
        except asyncio.CancelledError:
            await self.disconnect(nowait=True)
            raise

    def _received(self) -> Any:
        """A reply that was read from the socket together with one before it."""
        parser = self._parser
        if not isinstance(parser, _AsyncHiredisParser) or not parser._connected:
            return NOT_ENOUGH_DATA
        reader: Any = parser._reader
        return reader.gets()


class _Call:
    """Guards one call of the client on a connection. A class, because a generator would take longer than the guard.

    Raises:
        ConnectionError: for what a connection raises that was closed while the call was using it. A cluster's client
            closes the connections of all calls after one has failed, and takes away their streams. uvloop raises a
            RuntimeError where something is written to a connection in the instant in which it breaks.
        CancelledError: for a cancellation that was lost inside. The client uses `asyncio.wait_for`, which before
            Python 3.12 drops one that arrives together with its result; the caller would run on as if nobody had asked
            it to stop.
    """

    __slots__ = ("_before", "_task")

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._before = self._task.cancelling() if self._task else 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, AttributeError | RuntimeError):
            closed = error.obj is None if isinstance(error, AttributeError) else "closed" in str(error)
            if closed:
                raise Disconnected(f"closed meanwhile: {error}") from error
        elif error is None and self._task and self._task.cancelling() > self._before:
            raise asyncio.CancelledError
