"""How good the recommendations are, for each model version."""

from deploy.grafana.board import Board, Row
from deploy.grafana.panels import Query, bars, lines, numbers, table
from deploy.grafana.queries import OF_MODEL, increase, or_none, per_second, quantile, series, share

_SCORES = "tastestream_scores_total"
_EXPOSURES = "tastestream_exposures_total"
_OUTCOMES = "tastestream_recommendation_outcomes_total"
_CREATED = "tastestream_model_created_timestamp_seconds"
_POSITIVE = f'{OF_MODEL},signal="positive"'
_DRIFT, _MASS, _JOIN = "TastestreamScoreDrift", "TastestreamLabelMassLow", "TastestreamJoinRateFalling"

_MODELS_ROW = Row(
    "Models in use",
    [
        table(
            "Model versions",
            "What gateways and workers ask, and how: by `/score`, by chat with label probabilities, or to write texts.",
            Query(f"count by (role, model, mode) ({series('tastestream_model_info', OF_MODEL)})"),
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

MODEL_QUALITY = Board(
    "model-quality",
    "Model quality",
    "Which model versions are in use, what their scores look like, and what users make of their recommendations.",
    [_MODELS_ROW, _SCORES_ROW, _OUTCOMES_ROW],
    by_model=True,
)
