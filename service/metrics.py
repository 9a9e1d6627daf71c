"""Every Prometheus series, declared once. No user id, item id or text is ever a label."""

from functools import cache, partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.state.records import Waiting

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STEP_BUCKETS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The series of one process, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)

        # The gateway.
        self.request_seconds = histogram(
            "tastestream_http_request_seconds",
            "Time from the first byte of a request to the end of the response, by route template.",
            ("method", "route", "status"),
            buckets=REQUEST_BUCKETS,
        )
        self.requests_in_flight = gauge("tastestream_http_requests_in_flight", "Requests in progress.")
        self.requests_admitted = gauge(
            "tastestream_http_requests_admitted",
            "Requests in progress by class. `limits.max_concurrent_requests` is the limit of each class.",
            ("route_class",),
        )
        self.requests_refused = counter(
            "tastestream_http_requests_refused_total",
            "Requests rejected with 429 before their body was read, by class and reason (class_full, caller_share).",
            ("route_class", "reason"),
        )
        self.body_bytes = gauge(
            "tastestream_http_body_bytes", "Memory for request bodies in bytes. `limits.bytes_in_flight` is the limit."
        )
        self.bodies_refused = counter(
            "tastestream_http_bodies_refused_total",
            "Request bodies dropped because all bodies together exceeded `limits.bytes_in_flight`.",
        )
        self.connections = gauge("tastestream_http_connections", "Open connections, including idle ones.")
        self.api_keys_stale = gauge(
            "tastestream_api_keys_stale",
            "1 while the file of API keys can't be read or has a wrong line, so that its last good keys are in force.",
        )
        self.errors = counter("tastestream_errors_total", "Error responses by code.", ("code",))
        self.events = counter(
            "tastestream_events_total",
            "Received events by result: accepted, duplicate, rejected, backlog_full, overloaded, deleted.",
            ("result",),
        )
        self.unknown_types = counter(
            "tastestream_unknown_event_types_total", "Accepted events of an unknown type. They count as neutral."
        )
        self.unknown_items = counter(
            "tastestream_events_unknown_item_total",
            "Accepted events whose item is not in the catalogue, estimated from a sample of 500 per second.",
        )
        self.outcomes = counter(
            "tastestream_recommendation_outcomes_total",
            "Accepted events with a recommendation id, by what ranked the recommendation (unknown: the id was not "
            "issued by this service), its model version (other: not the one of this gateway) and the event's signal.",
            ("served_by", "model", "signal"),
        )
        self.items = counter(
            "tastestream_items_total", "Catalogue writes by result: created, updated, rejected, deleted.", ("result",)
        )
        self.pictures = counter(
            "tastestream_pictures_total",
            "Pictures of items by result: stored, stored_blank (all white or black), or the reason of the rejection.",
            ("result",),
        )
        self.picture_decoders_ended = counter(
            "tastestream_picture_decoders_ended_total",
            "Decoder processes that ended while decoding a picture, by cause: cpu, timeout, crash, cancelled.",
            ("cause",),
        )
        self.redis_up = gauge("tastestream_redis_up", "1 if Redis answered the last probe, otherwise 0.")
        self.due_users = gauge("tastestream_due_users", "Users whose summary is due to be rewritten.")
        self.pending_events = gauge("tastestream_pending_events", "Accepted events that are not yet folded.")
        self.pending_pictures = gauge("tastestream_pending_pictures", "Items whose picture is not yet fetched.")
        self.oldest_due_seconds = gauge(
            "tastestream_oldest_due_seconds", "Time for which the longest-waiting user has been due."
        )

        # Recommendations.
        self.recommendations = counter(
            "tastestream_recommendations_total",
            "Recommendations by what ranked them (none: no items) and degraded reason (empty: not degraded).",
            ("served_by", "degraded_reason"),
        )
        self.step_seconds = histogram(
            "tastestream_recommend_step_seconds",
            "Duration of each step of a recommendation.",
            ("step",),
            buckets=STEP_BUCKETS,
        )
        self.candidates = counter(
            "tastestream_candidates_total",
            "Candidates by outcome: ranked, the reason why they were skipped, or unscored (the model rejected them).",
            ("outcome",),
        )
        self.empty_recommendations = counter(
            "tastestream_empty_recommendations_total",
            "Empty recommendations by reason: none_given, unknown_item, seen, filtered, mixed, empty_catalogue.",
            ("reason",),
        )
        self.cached_scores = counter(
            "tastestream_score_cache_total", "Lookups in the score cache by result: hit, miss.", ("result",)
        )
        self.dependency_failures = counter(
            "tastestream_dependency_failures_total",
            "Failures of optional dependencies: the recommendation or fold went on without them.",
            ("dependency",),
        )
        self.engine_calls = counter(
            "tastestream_engine_calls_total",
            "Calls to a model server by outcome: ok or an error code.",
            ("engine", "call", "outcome"),
        )
        self.engine_seconds = histogram(
            "tastestream_engine_call_seconds",
            "Duration of a call to a model server.",
            ("engine", "call"),
            buckets=REQUEST_BUCKETS,
        )
        self.ranker_wait_seconds = histogram(
            "tastestream_ranker_wait_seconds",
            "Time that a ranking waited because `recommend.max_concurrent_ranks` others were in progress.",
            buckets=REQUEST_BUCKETS,
        )

        # Workers.
        self.jobs = counter(
            "tastestream_jobs_total",
            "Claimed work by job (summarize, describe, fetch) and outcome: committed, refused (a picture that is not "
            "acceptable), retried, dead_lettered, released (not an attempt), lost (the lease ran out or the work was "
            "superseded).",
            ("job", "outcome"),
        )
        self.job_seconds = histogram(
            "tastestream_job_seconds",
            "Time of one attempt at claimed work, from its start to its commit or failure.",
            ("job",),
            buckets=REQUEST_BUCKETS,
        )
        self.folded_events = counter("tastestream_folded_events_total", "Events folded into summaries.")
        self.folded_events_missing = counter(
            "tastestream_folded_events_missing_total",
            "Events folded although something was missing: their item was not in the catalogue (item) or they were "
            "exposures (interaction), and nothing of them reached the summary; or their item had a picture without a "
            "description (description).",
            ("missing",),
        )
        self.sweeps = counter(
            "tastestream_sweeps_total",
            "Removals of unused pictures by outcome: swept, failed, empty (nothing removed, as there are no items).",
            ("outcome",),
        )
        self.pictures_removed = counter("tastestream_pictures_removed_total", "Unused picture files that were removed.")
        self.picture_bytes_freed = counter(
            "tastestream_picture_bytes_freed_total", "Bytes of the unused picture files that were removed."
        )
        self.dead_letters = gauge("tastestream_dead_letters", "Dead letters in Redis.")

        _cache_labels(self.request_seconds, self.events)

    def show_waiting(self, waiting: Waiting) -> None:
        """Set the gauges of what waits in Redis, which answered."""
        self.redis_up.set(1)
        self.due_users.set(waiting.due_users)
        self.oldest_due_seconds.set(waiting.oldest_due_s)
        self.pending_events.set(waiting.pending_events)
        self.dead_letters.set(waiting.dead_letters)
        self.pending_pictures.set(waiting.pending_pictures)


def _cache_labels(*metrics: MetricWrapperBase) -> None:
    """Find the series of `metrics` without a lock and label checks, because every request needs them."""
    for metric in metrics:
        metric.labels = cache(metric.labels)  # type: ignore[method-assign]
