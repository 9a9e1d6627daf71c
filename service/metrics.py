"""Every Prometheus series, declared once. No user id, item id or text is ever a label."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.state.records import Waiting

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STEP_BUCKETS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The series of one process, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._declare_gateway()
        self._declare_recommend()
        self._declare_worker()
        _remember_labels(self.request_seconds, self.events)

    def show_waiting(self, waiting: Waiting) -> None:
        """Set the gauges of what waits in Redis, which answered."""
        self.redis_up.set(1)
        self.due_users.set(waiting.due_users)
        self.oldest_due_seconds.set(waiting.oldest_due_s)
        self.pending_events.set(waiting.pending_events)
        self.dead_letters.set(waiting.dead_letters)
        self.pending_pictures.set(waiting.pending_pictures)

    def _declare_gateway(self) -> None:
        self.request_seconds = Histogram(
            "tastestream_http_request_seconds",
            "Time from the first byte of a request to the end of the response, by route template.",
            ("method", "route", "status"),
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.requests_in_flight = Gauge(
            "tastestream_http_requests_in_flight", "Requests in progress.", registry=self.registry
        )
        self.requests_admitted = Gauge(
            "tastestream_http_requests_admitted",
            "Requests in progress by class. `limits.max_concurrent_requests` is the limit of each class.",
            ("route_class",),
            registry=self.registry,
        )
        self.requests_refused = Counter(
            "tastestream_http_requests_refused_total",
            "Requests rejected with 429 before their body was read, by class and reason (class_full, caller_share).",
            ("route_class", "reason"),
            registry=self.registry,
        )
        self.body_bytes = Gauge(
            "tastestream_http_body_bytes",
            "Memory for request bodies in bytes. `limits.bytes_in_flight` is the limit.",
            registry=self.registry,
        )
        self.bodies_refused = Counter(
            "tastestream_http_bodies_refused_total",
            "Request bodies dropped because all bodies together exceeded `limits.bytes_in_flight`.",
            registry=self.registry,
        )
        self.connections = Gauge(
            "tastestream_http_connections", "Open connections, including idle ones.", registry=self.registry
        )
        self.errors = Counter("tastestream_errors_total", "Error responses by code.", ("code",), registry=self.registry)
        self.events = Counter(
            "tastestream_events_total",
            "Received events by result: accepted, duplicate, rejected, backlog_full, overloaded, deleted.",
            ("result",),
            registry=self.registry,
        )
        self.unknown_types = Counter(
            "tastestream_unknown_event_types_total",
            "Accepted events of an unknown type. They count as neutral.",
            registry=self.registry,
        )
        self.unknown_items = Counter(
            "tastestream_events_unknown_item_total",
            "Accepted events whose item is not in the catalogue, estimated from a sample of 500 per second.",
            registry=self.registry,
        )
        self.outcomes = Counter(
            "tastestream_recommendation_outcomes_total",
            "Accepted events with a recommendation id, by what ranked the recommendation (unknown: the id was not "
            "issued by this service), its model version (other: not the one of this gateway) and the event's signal.",
            ("served_by", "model", "signal"),
            registry=self.registry,
        )
        self.items = Counter(
            "tastestream_items_total",
            "Catalogue writes by result: created, updated, rejected, deleted.",
            ("result",),
            registry=self.registry,
        )
        self.pictures = Counter(
            "tastestream_pictures_total",
            "Pictures of items by result: stored, stored_blank (all white or black), or the reason of the rejection.",
            ("result",),
            registry=self.registry,
        )
        self.picture_decoders_ended = Counter(
            "tastestream_picture_decoders_ended_total",
            "Decoder processes that ended while decoding a picture, by cause: cpu, timeout, crash, cancelled.",
            ("cause",),
            registry=self.registry,
        )
        self.redis_up = Gauge(
            "tastestream_redis_up", "1 if Redis answered the last probe, otherwise 0.", registry=self.registry
        )
        self.due_users = Gauge(
            "tastestream_due_users", "Users whose summary is due to be rewritten.", registry=self.registry
        )
        self.pending_events = Gauge(
            "tastestream_pending_events", "Accepted events that are not yet folded.", registry=self.registry
        )
        self.pending_pictures = Gauge(
            "tastestream_pending_pictures", "Items whose picture is not yet fetched.", registry=self.registry
        )
        self.oldest_due_seconds = Gauge(
            "tastestream_oldest_due_seconds",
            "Time for which the longest-waiting user has been due.",
            registry=self.registry,
        )

    def _declare_recommend(self) -> None:
        self.recommendations = Counter(
            "tastestream_recommendations_total",
            "Recommendations by what ranked them (none: no items) and degraded reason (empty: not degraded).",
            ("served_by", "degraded_reason"),
            registry=self.registry,
        )
        self.step_seconds = Histogram(
            "tastestream_recommend_step_seconds",
            "Duration of each step of a recommendation.",
            ("step",),
            buckets=STEP_BUCKETS,
            registry=self.registry,
        )
        self.candidates = Counter(
            "tastestream_candidates_total",
            "Candidates by outcome: ranked, the reason why they were skipped, or unscored (the model rejected them).",
            ("outcome",),
            registry=self.registry,
        )
        self.empty_recommendations = Counter(
            "tastestream_empty_recommendations_total",
            "Empty recommendations by reason: none_given, unknown_item, seen, filtered, mixed, empty_catalogue.",
            ("reason",),
            registry=self.registry,
        )
        self.cached_scores = Counter(
            "tastestream_score_cache_total",
            "Lookups in the score cache by result: hit, miss.",
            ("result",),
            registry=self.registry,
        )
        self.dependency_failures = Counter(
            "tastestream_dependency_failures_total",
            "Failures of optional dependencies: the recommendation or fold went on without them.",
            ("dependency",),
            registry=self.registry,
        )
        self.engine_calls = Counter(
            "tastestream_engine_calls_total",
            "Calls to a model server by outcome: ok or an error code.",
            ("engine", "call", "outcome"),
            registry=self.registry,
        )
        self.engine_seconds = Histogram(
            "tastestream_engine_call_seconds",
            "Duration of a call to a model server.",
            ("engine", "call"),
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )

        self.ranker_wait_seconds = Histogram(
            "tastestream_ranker_wait_seconds",
            "Time that a ranking waited because `recommend.max_concurrent_ranks` others were in progress.",
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )

    def _declare_worker(self) -> None:
        self.jobs = Counter(
            "tastestream_jobs_total",
            "Claimed work by job (summarize, describe, fetch) and outcome: committed, refused (a picture that is not "
            "acceptable), retried, dead_lettered, released (not an attempt), lost (the lease ran out or the work was "
            "superseded).",
            ("job", "outcome"),
            registry=self.registry,
        )
        self.job_seconds = Histogram(
            "tastestream_job_seconds",
            "Time of one attempt at claimed work, from its start to its commit or failure.",
            ("job",),
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.folded_events = Counter(
            "tastestream_folded_events_total", "Events folded into summaries.", registry=self.registry
        )
        self.folded_events_missing = Counter(
            "tastestream_folded_events_missing_total",
            "Events folded although something was missing: their item was not in the catalogue (item) or they were "
            "exposures (interaction), and nothing of them reached the summary; or their item had a picture without a "
            "description (description).",
            ("missing",),
            registry=self.registry,
        )
        self.sweeps = Counter(
            "tastestream_sweeps_total",
            "Removals of unused pictures by outcome: swept, failed, empty (nothing removed, as there are no items).",
            ("outcome",),
            registry=self.registry,
        )
        self.pictures_removed = Counter(
            "tastestream_pictures_removed_total", "Unused picture files that were removed.", registry=self.registry
        )
        self.picture_bytes_freed = Counter(
            "tastestream_picture_bytes_freed_total",
            "Bytes of the unused picture files that were removed.",
            registry=self.registry,
        )
        self.dead_letters = Gauge("tastestream_dead_letters", "Dead letters in Redis.", registry=self.registry)


def _remember_labels(*metrics: MetricWrapperBase) -> None:
    """Find the series of `metrics` without a lock and checks of the labels: every request asks for them."""
    for metric in metrics:
        metric.labels = cache(metric.labels)  # type: ignore[method-assign]
