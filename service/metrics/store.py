"""Series of what is in Redis and of its limits: the same whichever process asks."""

from collections.abc import Mapping

from prometheus_client import Gauge

from service.metrics.declare import Declare
from service.settings.state import StateSettings
from service.state.records import RedisState, Waiting


class StoreSeries:
    def __init__(self, declare: Declare) -> None:
        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return declare.gauge(name, meaning, labels, across="latest")

        self.redis_up = gauge("tastestream_redis_up", "1 if Redis answered the last probe, otherwise 0.")
        self.due_users = gauge(
            "tastestream_due_users", "Users whose summary is due to be rewritten, by tenant.", "tenant"
        )
        self.pending_events = gauge(
            "tastestream_pending_events", "Accepted events that are not yet folded, by tenant.", "tenant"
        )
        self.max_backlog = gauge(
            "tastestream_max_backlog",
            "`state.max_backlog`: with as many pending events of a tenant, further ones are refused.",
        )
        self.lease_seconds = gauge(
            "tastestream_lease_seconds", "`state.lease_s`: the time that a worker has for claimed work."
        )
        self.pending_pictures = gauge("tastestream_pending_pictures", "Items whose picture is not yet fetched.")
        self.oldest_due_seconds = gauge(
            "tastestream_oldest_due_seconds",
            "Time for which the longest-waiting user has been due, by tenant.",
            "tenant",
        )
        self.dead_letters = gauge("tastestream_dead_letters", "Dead letters in Redis, by tenant.", "tenant")
        self.index_updated = declare.gauge(
            "tastestream_index_updated_timestamp_seconds",
            "When a like was last counted in an index of retrieval: cooccurrence, popular.",
            ("index",),
            across="latest",
        )
        self.redis_memory_used = gauge(
            "tastestream_redis_memory_used_bytes", "Memory that Redis uses; of a cluster, the sum of its masters."
        )
        self.redis_memory_max = gauge(
            "tastestream_redis_memory_max_bytes",
            "`maxmemory` of Redis, 0 without one; of a cluster, the sum of its masters.",
        )
        self.redis_memory_share = gauge(
            "tastestream_redis_memory_used_ratio",
            "Share of its `maxmemory` that Redis uses, 0 without one; of a cluster, of the master that is fullest.",
        )
        self.redis_aof_ok = gauge(
            "tastestream_redis_aof_ok",
            "1 if every master keeps an append-only file and its last write and rewrite succeeded, otherwise 0.",
        )
        self.redis_replicas = gauge(
            "tastestream_redis_replicas", "Connected replicas; of a cluster, of the master that has the fewest."
        )
        self.clock_skew = gauge(
            "tastestream_clock_skew_seconds",
            "The clock of this process minus that of Redis; of a cluster, the largest difference.",
        )

    def show_limits(self, settings: StateSettings) -> None:
        """Set the gauges of what the others are compared with."""
        self.max_backlog.set(settings.max_backlog)
        self.lease_seconds.set(settings.lease_s)

    def show_waiting(self, tenants: Mapping[str, Waiting]) -> None:
        """Set the gauges of what waits in Redis, which answered, for each tenant."""
        self.redis_up.set(1)
        for name, waiting in tenants.items():
            self.due_users.labels(name).set(waiting.due_users)
            self.oldest_due_seconds.labels(name).set(waiting.oldest_due_s)
            self.pending_events.labels(name).set(waiting.pending_events)
            self.dead_letters.labels(name).set(waiting.dead_letters)
        self.pending_pictures.set(sum(waiting.pending_pictures for waiting in tenants.values()))

    def show_indexes(self, updated_s: Mapping[str, float]) -> None:
        """Set when each index of any tenant was last updated, in seconds since the epoch."""
        for index, at_s in updated_s.items():
            self.index_updated.labels(index).set(at_s)

    def show_redis(self, state: RedisState) -> None:
        """Set the gauges of what Redis says about itself."""
        self.redis_memory_used.set(state.memory_used)
        self.redis_memory_max.set(state.memory_max)
        self.redis_memory_share.set(state.memory_share)
        self.redis_aof_ok.set(state.aof_ok)
        self.redis_replicas.set(state.replicas)
        self.clock_skew.set(state.clock_skew_s)
