"""The service level objectives: their targets, and what counts for and against them."""

from service.metrics.declare import Declare

RECOMMEND_RESULTS = ("good", "degraded", "late", "failed")
EVENTS_RESULTS = ("accepted", "refused")
TARGETS = {"recommend": 0.999, "freshness": 0.99, "events": 0.999}
"""The share that must be good: of the answers to /recommend, of events in the summary within `FRESHNESS_S`, and of
the requests to /events."""
FRESHNESS_S = 60.0


class ObjectiveSeries:
    """Results that never occurred are exported as 0, so that the first one is an increase."""

    def __init__(self, declare: Declare) -> None:
        self.recommend_slo = declare.counter(
            "tastestream_recommend_slo_total",
            "`POST /recommend` requests by result: good, degraded (not ranked by the model as it should be), late "
            "(after the deadline), failed (5xx or 429). Without those that are the caller's fault (other 4xx, and 429 "
            "rate_limited).",
            ("result",),
        )
        self.events_slo = declare.counter(
            "tastestream_events_slo_total",
            "`POST /events` requests by result: accepted, refused (5xx, 429, or events of it must be sent again). "
            "Without those that are the caller's fault (other 4xx, and 429 rate_limited).",
            ("result",),
        )
        self.slo_target = declare.gauge(
            "tastestream_slo_target_ratio",
            "Objectives: the share of recommendations, of fresh summaries, of accepted event requests that must be "
            "good.",
            ("slo",),
            across="latest",
        )
        self.slo_freshness = declare.gauge(
            "tastestream_slo_freshness_threshold_seconds",
            "Within this time an event must be in the summary to be fresh.",
            across="latest",
        )
        for counter, results in ((self.recommend_slo, RECOMMEND_RESULTS), (self.events_slo, EVENTS_RESULTS)):
            for result in results:
                counter.labels(result)
        for name, target in TARGETS.items():
            self.slo_target.labels(name).set(target)
        self.slo_freshness.set(FRESHNESS_S)
