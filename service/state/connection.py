"""The client of one Redis or of a Redis Cluster, by the URL's scheme.

`redis://`, `rediss://` and `unix://` name one server; `redis+cluster://` and `rediss+cluster://`
any node of a cluster. Calls are tried again once or twice when the connection breaks: every
script but `claim` gives the same result when it is run twice, and a claim whose answer was lost is
claimed again when its lease runs out.
"""

from typing import Any

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from service.settings import StateSettings

Client = Redis | RedisCluster
Argument = str | bytes | int | float
CLUSTER = "+cluster://"


def connect(url: str, settings: StateSettings) -> Client:
    """A client that connects when it is first used. Raises ValueError for a URL that is none."""
    timeout = settings.redis_timeout_s
    patience = timeout + (settings.wait_s if settings.wait_replicas or settings.wait_aof else 0.0)
    retry = Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2)
    if CLUSTER in url:
        return RedisCluster.from_url(
            url.replace(CLUSTER, "://", 1),
            protocol=2,
            retry=retry,
            max_connections=settings.redis_connections,
            socket_timeout=patience,
            socket_connect_timeout=timeout,
        )
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        retry=retry,
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
