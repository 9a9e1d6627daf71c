"""Rows of the overview: the limits of the gateways, Redis, and the processes."""

from deploy.grafana.board import Row
from deploy.grafana.panels import Query, lines, numbers, table
from deploy.grafana.queries import occurring, or_zero, per_second, series

_OURS = 'job=~"tastestream-.*"'
_OWN = 'job=~"tastestream-(gateway|worker)"'

LIMITS = Row(
    "Limits of the gateways",
    [
        lines(
            "Requests in progress, by class",
            "Each class has a limit of its own per gateway, `limits.max_concurrent_requests`.",
            Query(f"sum by (route_class) ({series('tastestream_http_requests_admitted')})", "{{route_class}}"),
            Query(f"sum ({series('tastestream_http_requests_in_flight')})", "all"),
            unit="short",
            width=6,
        ),
        lines(
            "Refused before the body is read",
            "Requests answered with 429, by class and reason: class_full (the gateway has too many of this class) or "
            "caller_share (one caller has too many of them).",
            Query(
                occurring(
                    per_second("tastestream_http_requests_refused_total", by="route_class, reason"), "route_class"
                ),
                "{{route_class}} {{reason}}",
            ),
            Query(per_second("tastestream_http_bodies_refused_total"), "bodies, for want of memory"),
            unit="reqps",
            width=6,
            runbooks=["TastestreamConnectionsNearLimit"],
        ),
        lines(
            "Connections and open files",
            "Share of the connections that a gateway accepts, and of the files that a process may open; of each the "
            "process that is nearest to its limit.",
            Query(
                f"max ({series('tastestream_http_connections')} / {series('tastestream_max_connections')})",
                "connections",
            ),
            Query(f"max ({series('process_open_fds', _OWN)} / {series('process_max_fds', _OWN)})", "open files"),
            unit="percentunit",
            width=6,
            thresholds=[(0.8, "red")],
            runbooks=["TastestreamConnectionsNearLimit"],
        ),
        lines(
            "Memory for request bodies",
            "Of all gateways. `limits.bytes_in_flight` is the limit of each process.",
            Query(f"sum ({series('tastestream_http_body_bytes')})", "bodies"),
            unit="bytes",
            width=6,
        ),
    ],
)

PROCESSES = Row(
    "Redis and processes",
    [
        numbers(
            "Redis",
            "Whether any process reaches Redis, whether its append-only file is written, and how many replicas "
            "follow it.",
            Query(f"max ({series('tastestream_redis_up')})", "answers"),
            Query(f"min ({series('tastestream_redis_aof_ok')})", "append-only file"),
            unit="short",
            width=5,
            base="red",
            thresholds=[(1, "green")],
            names={0: "no", 1: "yes"},
            runbooks=["TastestreamRedisDown", "TastestreamRedisPersistenceFailing"],
        ),
        lines(
            "Redis memory",
            "What Redis uses of its `maxmemory`, if it has one. New events are refused from 95 % on.",
            Query(f"max ({series('tastestream_redis_memory_used_bytes')})", "used"),
            Query(f"max ({series('tastestream_redis_memory_max_bytes')})", "maxmemory (0: none)"),
            unit="bytes",
            width=5,
            height=6,
            runbooks=["TastestreamRedisMemoryHigh"],
        ),
        lines(
            "Fullest Redis",
            "Share of its `maxmemory` that Redis uses; of a cluster, of the master that is fullest.",
            Query(f"max ({series('tastestream:redis_memory_used:ratio')})", "used"),
            unit="percentunit",
            width=5,
            height=6,
            most=1,
            thresholds=[(0.8, "orange"), (0.92, "red")],
            runbooks=["TastestreamRedisMemoryHigh", "TastestreamRedisMemoryFull"],
        ),
        lines(
            "Redis replicas and clock",
            "Connected replicas (of a cluster, of the master that has the fewest), and the largest difference between "
            "a process's clock and that of Redis. Deletions rely on 0.02 s at most.",
            Query(f"min ({series('tastestream_redis_replicas')})", "replicas"),
            Query(f"max (abs({series('tastestream_clock_skew_seconds')}))", "clock difference (s)"),
            unit="short",
            width=4,
            height=6,
            runbooks=["TastestreamClockSkew"],
        ),
        numbers(
            "Answering processes",
            "How many of the processes that Prometheus knows it also reaches.",
            Query(f"sum by (job) ({series('up', _OURS)})", "{{job}}"),
            unit="short",
            width=5,
            base="red",
            thresholds=[(1, "green")],
            runbooks=["TastestreamTargetDown", "TastestreamGatewaysGone", "TastestreamWorkersGone"],
        ),
        lines(
            "Processor time",
            "Seconds of processor time per second: 1 is one core.",
            Query(
                per_second("process_cpu_seconds_total", _OURS, by="job"),
                "{{job}}",
            ),
            unit="short",
            height=7,
        ),
        lines(
            "Memory of the processes",
            "The largest process of each kind.",
            Query(f"max by (job) ({series('process_resident_memory_bytes', _OURS)})", "{{job}}"),
            unit="bytes",
            height=7,
        ),
        table(
            "Versions in use",
            "More than one row while an upgrade is under way.",
            Query(f"count by (job, version, python) ({series('tastestream_build_info')})"),
            columns=["job", "version", "python"],
            value="processes",
            height=7,
            width=5,
        ),
        numbers(
            "API keys",
            "Whether the file of API keys could be read again. If not, its last good keys stay in force.",
            Query(or_zero(f"max ({series('tastestream_api_keys_stale')})"), "file of keys"),
            unit="short",
            width=3,
            height=7,
            thresholds=[(1, "red")],
            names={0: "read", 1: "stale"},
            runbooks=["TastestreamApiKeysStale"],
        ),
    ],
)
