"""Series of the roll-out of model versions. `model` is a version that an alias has named since the process started."""

from service.metrics.declare import Declare

_DIFFERENCES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)
_CORRELATIONS = (-0.5, 0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
SLOT_NAMES = (*(str(place) for place in range(1, 11)), "other")
SHADOW_OUTCOMES = ("compared", "failed", "queue_full", "load")


class RolloutSeries:
    def __init__(self, declare: Declare) -> None:
        self.version_recommendations = declare.counter(
            "tastestream_version_recommendations_total",
            "Recommendations by model version, policy (production, canary, or fallback: production, because the canary "
            "of the user could not rank) and degraded reason (empty: not degraded).",
            ("model", "policy", "degraded_reason"),
        )
        self.version_rank_seconds = declare.histogram(
            "tastestream_version_rank_seconds",
            "Duration of the calls to the ranker that returned scores, by model version.",
            ("model",),
        )
        self.version_exposures = declare.counter(
            "tastestream_version_exposures_total",
            "Recommendations with at least one item, by model version and policy: the denominator of "
            "`tastestream_version_outcomes_total`.",
            ("model", "policy"),
        )
        self.version_outcomes = declare.counter(
            "tastestream_version_outcomes_total",
            "Accepted events with a recommendation id, except those that an item was only shown, by the model version "
            "and the policy that showed the item, and the event's signal.",
            ("model", "policy", "signal"),
        )
        self.slot_outcomes = declare.counter(
            "tastestream_slot_outcomes_total",
            "The same events by model version, the item's place in the list (other: below the tenth, or not in it) and "
            "signal.",
            ("model", "slot", "signal"),
        )
        self.rollout_users = declare.gauge(
            "tastestream_rollout_users_ratio",
            "Share of the users for whom a version ranks, or whose answers a shadow is compared with, by alias.",
            ("alias", "model"),
            across="latest",
        )
        self.rollout_waiting = declare.gauge(
            "tastestream_rollout_waiting",
            "1 while an alias names a version that no server serves, or whose files are broken: production keeps the "
            "version before, the users of a canary get production.",
            ("alias", "model"),
            across="max",
        )
        self.rollout_stale = declare.gauge(
            "tastestream_rollout_stale",
            "1 while the aliases of a model can't be read: the last known ones stay in force.",
            ("name",),
            across="max",
        )
        self.rollout_fallbacks = declare.counter(
            "tastestream_rollout_fallbacks_total",
            "Recommendations for which a canary could not rank and production did, by the canary's version and reason "
            "(not_ready: no server serves it).",
            ("model", "reason"),
        )
        self.shown = declare.counter(
            "tastestream_shown_answers_total",
            "Answers for the log of what was shown, by outcome: logged, dropped (too many wait), failed (Redis).",
            ("outcome",),
            known=[("logged",), ("dropped",), ("failed",)],
        )
        self.shadow = declare.counter(
            "tastestream_shadow_total",
            f"Answers for which a shadow was to rank, by its version and outcome: {', '.join(SHADOW_OUTCOMES)}.",
            ("model", "outcome"),
        )
        self.shadow_difference = declare.histogram(
            "tastestream_shadow_score_difference",
            "Difference between the scores p(yes) of the shadow and of the version that ranked, as the mean over the "
            "candidates of an answer.",
            ("model",),
            buckets=_DIFFERENCES,
        )
        self.shadow_correlation = declare.histogram(
            "tastestream_shadow_rank_correlation",
            "Rank correlation (Spearman) between the order of the shadow and the order that was shown.",
            ("model",),
            buckets=_CORRELATIONS,
        )
