"""Series of recommendations."""

from service.metrics.declare import STEP_BUCKETS, Declare, Summed

_CANDIDATES = (1, 5, 10, 20, 50, 100, 200, 500)
_EMPTY_REASONS = ("none_given", "unknown_item", "seen", "excluded", "filtered", "mixed", "empty_catalogue")
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0)


class RecommendSeries:
    def __init__(self, declare: Declare) -> None:
        self.recommendations = declare.counter(
            "tastestream_recommendations_total",
            "Recommendations by tenant, what ranked them (none: no items) and degraded reason (empty: not degraded).",
            ("tenant", "served_by", "degraded_reason"),
        )
        self.exposures = declare.counter(
            "tastestream_exposures_total",
            "Recommendations with at least one item, by what ranked them and the model version: the denominator of "
            "`tastestream_recommendation_outcomes_total`.",
            ("served_by", "model"),
        )
        self.empty_recommendations = declare.counter(
            "tastestream_empty_recommendations_total",
            f"Empty recommendations by reason: {', '.join(_EMPTY_REASONS)}.",
            ("reason",),
            known=[(reason,) for reason in _EMPTY_REASONS],
        )
        self.short_recommendations = declare.counter(
            "tastestream_short_recommendations_total", "Recommendations of fewer items than asked for, but not empty."
        )
        self.deadline_used = declare.histogram(
            "tastestream_recommend_deadline_used_ratio",
            "Share of its deadline that a recommendation took; more than 1 is late.",
            buckets=_SHARES,
        )
        self.step_seconds = declare.histogram(
            "tastestream_recommend_step_seconds",
            "Duration of each step of a recommendation.",
            ("step",),
            buckets=STEP_BUCKETS,
        )
        self.ranked_candidates = declare.histogram(
            "tastestream_recommend_candidates", "Candidates ranked for one recommendation.", buckets=_CANDIDATES
        )
        self.retrieved_candidates = declare.counter(
            "tastestream_retrieved_candidates_total",
            "Distinct candidates before the filter, by source: given (by the caller), or the stage of retrieval.",
            ("source",),
        )
        self.candidates = declare.counter(
            "tastestream_candidates_total",
            "Candidates by outcome: ranked, the reason why they were skipped, or unscored (the model rejected them).",
            ("outcome",),
        )
        self.picture_tokens = declare.counter(
            "tastestream_picture_tokens_total",
            "Candidates of a model whose pictures are soft tokens, by what it was shown: used; no_picture; and, ranked "
            "by their texts, awaited (not encoded yet), refused (not of the version's shape), lost (the file is "
            "missing), unreadable (the folder failed).",
            ("result",),
            known=[(result,) for result in ("used", "no_picture", "awaited", "refused", "lost", "unreadable")],
        )
        self.cached_scores = declare.counter(
            "tastestream_score_cache_total", "Lookups in the score cache by result: hit, miss.", ("result",)
        )
        self.dependency_failures = declare.counter(
            "tastestream_dependency_failures_total",
            "Failures of optional dependencies: the recommendation or fold went on without them.",
            ("dependency",),
        )
        self.ranker_wait_seconds = declare.histogram(
            "tastestream_ranker_wait_seconds",
            "Time that a ranking waited because as many others were in progress as the ranker can serve.",
        )
        self.ranker_limit = declare.gauge(
            "tastestream_ranker_concurrency_limit",
            "Calls to the ranker that may be in progress at the same time. It follows the ranker's latency, between "
            "`recommend.min_concurrent_ranks` and `recommend.max_concurrent_ranks` in each process.",
            across="sum",
        )
        self.ranker_concurrent = declare.gauge(
            "tastestream_ranker_concurrent", "Calls to the ranker that are in progress.", across="sum"
        )
        # Tenants may have different rankers.
        self.ranker_limit_parts, self.ranker_concurrent_parts = (
            Summed(self.ranker_limit),
            Summed(self.ranker_concurrent),
        )
        self.shed = declare.counter(
            "tastestream_shed_total",
            "Requests that overload kept from what they asked for, by class: ranking (answered without the model, "
            "because no place at the ranker would have been free in time); items, reads, recommend (refused "
            "with 429, because the event loop was late).",
            ("class",),
            known=[("ranking",), ("items",), ("reads",), ("recommend",)],
        )
