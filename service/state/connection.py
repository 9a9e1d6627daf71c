"""The client of one Redis or of a Redis Cluster, by the URL's scheme.

`redis://`, `rediss://` and `unix://` name one server; `redis+cluster://` and `rediss+cluster://`
any node of a cluster.
"""

from typing import Any

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff

from service.settings import StateSettings

Client = Redis | RedisCluster
Argument = str | bytes | int | float
CLUSTER = "+cluster://"
_ASKING_FOR_SLOTS = 2


def patience_s(settings: StateSettings) -> float:
    """The longest that one call waits for Redis, all tries together."""
    return settings.redis_timeout_s + (settings.wait_s if settings.wait_replicas or settings.wait_aof else 0.0)


def connect(url: str, settings: StateSettings) -> Client:
    """A client that connects when it is first used. Raises ValueError for a URL that is none."""
    timeout, patience = settings.redis_timeout_s, patience_s(settings)
    if CLUSTER in url:
        return RedisCluster.from_url(
            url.replace(CLUSTER, "://", 1),
            protocol=2,
            # The pipelines try again; the client would close all connections before, those in use, too.
            retry=Retry(NoBackoff(), 0),
            max_connections=settings.redis_connections + _ASKING_FOR_SLOTS,
            socket_timeout=patience,
            socket_connect_timeout=timeout,
        )
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2),
        max_connections=settings.redis_connections,
        timeout=timeout,
        socket_timeout=patience,
        socket_connect_timeout=timeout,
    )
    pool.connection_class = type("PackedConnection", (_Packed, pool.connection_class), {})
    return Redis.from_pool(pool)


class _Packed:
    """A connection that packs commands in C; packing them in Python would take most of an event's time."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name, *rest = args
        words = name.split() if isinstance(name, str) else [name]
        return [pack_command((*words, *rest))]
