"""How good the recommendations are, for each model version."""

from deploy.grafana.board import Board, Row
from deploy.grafana.panels import Query, bars, lines, numbers, table
from deploy.grafana.queries import OF_MODEL, increase, or_none, p50_p99, per_second, quantile, series, share

_SCORES = "tastestream_scores_total"
_EXPOSURES = "tastestream_exposures_total"
_OUTCOMES = "tastestream_recommendation_outcomes_total"
_CREATED = "tastestream_model_created_timestamp_seconds"
_VERSION, _VERSION_EXPOSURES = "tastestream_version_recommendations_total", "tastestream_version_exposures_total"
_VERSION_OUTCOMES = "tastestream_version_outcomes_total"
_DEGRADED = f'{OF_MODEL},degraded_reason!=""'
_POSITIVE = f'{OF_MODEL},signal="positive"'
_DRIFT, _MASS, _JOIN = "TastestreamScoreDrift", "TastestreamLabelMassLow", "TastestreamJoinRateFalling"

_MODELS_ROW = Row(
    "Models in use",
    [
        table(
            "Model versions",
            "What gateways and workers ask, and how: by `/score`, by chat with label probabilities, or to write texts.",
            Query(f"sum by (role, model, mode) ({series('tastestream_model_info', OF_MODEL)}) > 0"),
            columns=["role", "model", "mode"],
            value="processes",
            width=8,
        ),
        numbers(
            "Age of the models",
            "Since the version was made, if its manifest says when. What has come since, it has never seen.",
            Query(
                f"time() - max by (role, model) ({series(_CREATED, OF_MODEL)} > 0)",
                "{{role}} {{model}}",
            ),
            unit="s",
            width=8,
            thresholds=[(30 * 86400, "orange"), (60 * 86400, "red")],
            runbooks=["TastestreamModelStale"],
        ),
        numbers(
            "Age of the indexes",
            "Since a like was last counted for co-occurrence and popularity.",
            Query(
                f"time() - max by (index) ({series('tastestream_index_updated_timestamp_seconds')} > 0)", "{{index}}"
            ),
            unit="s",
            width=8,
            thresholds=[(3600, "orange"), (6 * 3600, "red")],
            runbooks=["TastestreamIndexStale"],
        ),
    ],
)

_SCORES_ROW = Row(
    "Scores",
    [
        bars(
            "Distribution of the scores, last day",
            "Share of the fresh scores p(yes) in each tenth, by its lower end. A model that gives all items nearly the "
            "same score ranks badly.",
            Query(
                f"{increase(_SCORES, OF_MODEL, by='model, bin', window='1d')}"
                f" / on (model) group_left () {increase(_SCORES, OF_MODEL, by='model', window='1d')}",
                "{{model}} {{bin}}",
            ),
            unit="percentunit",
            height=9,
            runbooks=[_DRIFT],
        ),
        lines(
            "Distribution of the scores over time",
            "Share of the fresh scores in each tenth of 0..1.",
            Query(share(per_second(_SCORES, OF_MODEL, by="bin"), per_second(_SCORES, OF_MODEL), by="bin"), "{{bin}}"),
            unit="percentunit",
            most=1,
            height=9,
            stacked=True,
            runbooks=[_DRIFT],
        ),
        lines(
            "Drift of the scores",
            "Population stability index of the last day against the 7 days before: up to 0.1 nothing has changed, "
            "above 0.25 much has. It begins when a version has scored for more than a day.",
            Query(f"max by (model) ({series('tastestream:scores:psi1d', OF_MODEL)})", "{{model}}"),
            unit="short",
            height=9,
            thresholds=[(0.1, "orange"), (0.25, "red")],
            runbooks=[_DRIFT],
        ),
        lines(
            "Label mass",
            "p(yes) + p(no) at the first answer token: the rest goes to other words, and scores made from little are "
            "noise. Only rankers in `chat` mode have one; `/score` reads the two labels alone.",
            Query(quantile(0.5, "tastestream_label_mass", OF_MODEL, by="model"), "{{model}} p50"),
            Query(quantile(0.1, "tastestream_label_mass", OF_MODEL, by="model"), "{{model}} p10"),
            unit="percentunit",
            most=1,
            width=12,
            thresholds=[(0.8, "red")],
            base="red",
            runbooks=[_MASS],
        ),
        lines(
            "Fresh scores",
            "Scores that the model gave, without cached ones.",
            Query(per_second(_SCORES, OF_MODEL, by="model"), "{{model}}"),
            unit="cps",
            width=12,
        ),
    ],
)

_OUTCOMES_ROW = Row(
    "What users make of it",
    [
        lines(
            "Exposures, by model version and what ranked them",
            "Recommendations with at least one item.",
            Query(per_second(_EXPOSURES, OF_MODEL, by="served_by, model"), "{{model}} {{served_by}}"),
            unit="reqps",
            stacked=True,
        ),
        lines(
            "Positive outcomes per exposure, last 6 hours",
            "Likes, purchases and the like that name the recommendation they come from. Compare versions with each "
            "other, and the model with what stands in for it; who is asked differs between them.",
            Query(
                f"{increase(_OUTCOMES, _POSITIVE, by='model, served_by', window='6h')}"
                f" / {increase(_EXPOSURES, OF_MODEL, by='model, served_by', window='6h')}",
                "{{model}} {{served_by}}",
            ),
            unit="percentunit",
        ),
        lines(
            "Outcomes, by what ranked them and signal",
            "Accepted events that name a recommendation. unknown: its id was not issued by this service.",
            Query(or_none(per_second(_OUTCOMES, by="served_by, signal"), "served_by"), "{{served_by}} {{signal}}"),
            unit="cps",
            stacked=True,
            runbooks=[_JOIN],
        ),
        lines(
            "Outcomes per exposure: 6 hours and 7 days",
            "Of all signals. If the short one falls, callers have stopped sending `recommendation_id`, or users have "
            "stopped reacting.",
            Query(f"max ({series('tastestream:joined_outcomes:ratio_increase6h')})", "6 hours"),
            Query(f"max ({series('tastestream:joined_outcomes:ratio_increase7d')})", "7 days"),
            unit="percentunit",
            runbooks=[_JOIN],
        ),
        lines(
            "Empty and short lists",
            "Share of the recommendations in 30 minutes. Filters and small catalogues make some lists short for good: "
            "compare with last week.",
            Query(f"max ({series('tastestream:empty_recommendations:ratio_rate30m')})", "empty"),
            Query(f"max ({series('tastestream:short_recommendations:ratio_rate30m')})", "short"),
            unit="percentunit",
            runbooks=["TastestreamEmptyLists", "TastestreamShortLists"],
        ),
        lines(
            "Empty lists, by reason",
            "Why nothing was left: unknown_item (candidates are not in the catalogue), seen, filtered, mixed, or "
            "nothing was given.",
            Query(per_second("tastestream_empty_recommendations_total", by="reason"), "{{reason}}"),
            Query(per_second("tastestream_short_recommendations_total"), "short, not empty"),
            unit="reqps",
            runbooks=["TastestreamEmptyLists"],
        ),
    ],
)

_ROLLOUT_ROW = Row(
    "Roll-out",
    [
        lines(
            "Users, by alias and version",
            "Share of the users for whom a version ranks, or whose answers a shadow is compared with. Gateways follow "
            "promotions within seconds.",
            Query(
                f"max by (alias, model) ({series('tastestream_rollout_users_ratio', OF_MODEL)})", "{{alias}} {{model}}"
            ),
            unit="percentunit",
            most=1,
        ),
        lines(
            "Recommendations, by version and policy",
            "fallback: production ranked, because the canary of the user could not.",
            Query(per_second(_VERSION, OF_MODEL, by="model, policy"), "{{model}} {{policy}}"),
            unit="reqps",
            stacked=True,
        ),
        lines(
            "Degraded, by version",
            "Share of a version's recommendations that came without its scores.",
            Query(
                f"{per_second(_VERSION, _DEGRADED, by='model')} / {per_second(_VERSION, OF_MODEL, by='model')}",
                "{{model}}",
            ),
            unit="percentunit",
            most=1,
        ),
        lines(
            "Duration of the ranker's calls, by version",
            "Of calls that returned scores.",
            *p50_p99("tastestream_version_rank_seconds", OF_MODEL, by="model"),
            unit="s",
        ),
        lines(
            "Positive outcomes per exposure, by version and policy, last 6 hours",
            "Likes, purchases and the like that name the recommendation they come from. Users get production or the "
            "canary by chance, so these two may be compared; `tastestream models ope` adds the intervals.",
            Query(
                f"{increase(_VERSION_OUTCOMES, _POSITIVE, by='model, policy', window='6h')}"
                f" / {increase(_VERSION_EXPOSURES, OF_MODEL, by='model, policy', window='6h')}",
                "{{model}} {{policy}}",
            ),
            unit="percentunit",
        ),
        lines(
            "Outcomes, by place in the list",
            "other: below the tenth place, or an item that the list did not have.",
            Query(or_none(per_second("tastestream_slot_outcomes_total", OF_MODEL, by="slot"), "slot"), "{{slot}}"),
            unit="cps",
            stacked=True,
        ),
        lines(
            "Waiting and stale",
            "1: an alias names a version that no server serves, or the aliases can't be read. What ranked before "
            "goes on ranking; the gateway's log says why.",
            Query(f"max by (alias, model) ({series('tastestream_rollout_waiting', OF_MODEL)})", "{{alias}} {{model}}"),
            Query(f"max by (name) ({series('tastestream_rollout_stale')})", "{{name}} can't be read"),
            unit="short",
            runbooks=["TastestreamRolloutStuck"],
        ),
        lines(
            "Canary: answers by production instead",
            "By reason; not_ready: no server serves the canary.",
            Query(or_none(per_second("tastestream_rollout_fallbacks_total", by="reason"), "reason"), "{{reason}}"),
            unit="reqps",
            stacked=True,
        ),
        lines(
            "Log of what was shown",
            "Answers, if `state.shown_log_size` is set, by outcome. dropped: too many waited; failed: Redis refused.",
            Query(per_second("tastestream_shown_answers_total", by="outcome"), "{{outcome}}"),
            unit="reqps",
        ),
        lines(
            "Shadow: answers",
            "By what became of the comparison. Under load and when too many wait, answers are not compared.",
            Query(or_none(per_second("tastestream_shadow_total", by="outcome"), "outcome"), "{{outcome}}"),
            unit="reqps",
            stacked=True,
        ),
        lines(
            "Shadow: difference of the scores",
            "Between p(yes) of the shadow and of the version that ranked, as the mean over an answer's candidates.",
            *p50_p99("tastestream_shadow_score_difference", OF_MODEL, by="model"),
            unit="short",
        ),
        lines(
            "Shadow: rank correlation",
            "Spearman, between the shadow's order and the one that was shown: the median and the lowest tenth.",
            Query(quantile(0.5, "tastestream_shadow_rank_correlation", OF_MODEL, by="model"), "{{model}} p50"),
            Query(quantile(0.1, "tastestream_shadow_rank_correlation", OF_MODEL, by="model"), "{{model}} p10"),
            unit="short",
            most=1,
        ),
    ],
)

MODEL_QUALITY = Board(
    "model-quality",
    "Model quality",
    "Which model versions are in use, what their scores look like, and what users make of their recommendations.",
    [_MODELS_ROW, _ROLLOUT_ROW, _SCORES_ROW, _OUTCOMES_ROW],
    by_model=True,
)
