"""The client of one Redis or of a Redis Cluster, by the URL's scheme.

`redis://`, `rediss://` and `unix://` name one server; `redis+cluster://` and `rediss+cluster://`
any node of a cluster. Calls are tried again once or twice when the connection breaks: every
script but `claim` gives the same result when it is run twice, and a claim whose answer was lost is
claimed again when its lease runs out.
"""

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from service.settings import StateSettings

Client = Redis | RedisCluster
CLUSTER = "+cluster://"


def connect(url: str, settings: StateSettings) -> Client:
    """A client that connects when it is first used. Raises ValueError for a URL that is none."""
    timeout = settings.redis_timeout_s
    retry = Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2)
    if CLUSTER in url:
        return RedisCluster.from_url(
            url.replace(CLUSTER, "://", 1),
            protocol=2,
            retry=retry,
            max_connections=settings.redis_connections,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
        )
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        retry=retry,
        max_connections=settings.redis_connections,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
    )
    return Redis.from_pool(pool)
