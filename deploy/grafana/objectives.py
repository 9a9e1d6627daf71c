"""Rows of the overview: are the objectives met, and what is wrong if they are not."""

from deploy.grafana.board import Row
from deploy.grafana.panels import Panel, Query, lines, numbers, table
from deploy.grafana.queries import occurring, or_none, per_second, series, share

_BURNS = (("5m", "1h", "6h", "3d"), ((1, "yellow"), (6, "orange"), (14.4, "red")))
_ALERTS = ("TastestreamRecommendBudgetBurn", "TastestreamFreshnessBudgetBurn", "TastestreamEventsBudgetBurn")
_EVENTS = {"events": "refused", "freshness": "late"}
_FIRING = series("ALERTS", 'alertname=~"Tastestream.*",alertstate="firing"')


def _one(slo: str) -> str:
    return f'sloth_slo="{slo}"'


def _burn(slo: str, name: str, runbook: str) -> Panel:
    windows, thresholds = _BURNS
    budget = f"max by (sloth_slo) (slo:error_budget:ratio{{{_one(slo)}}})"
    errors = [(window, series(f"slo:sli_error:ratio_rate{window}", _one(slo))) for window in windows]
    queries = [Query(f"max by (sloth_slo) ({of}) / on (sloth_slo) {budget}", f"over {window}") for window, of in errors]
    meaning = (
        "How many times too fast the error budget burns: at 1 it lasts exactly 30 days. It pages above 14.4 over an "
        "hour and above 6 over 6 hours, if the last minutes burn as well."
    )
    return lines(
        f"Burn rate: {name}",
        meaning,
        *queries,
        unit="short",
        runbooks=[runbook],
        thresholds=thresholds,
        scale="symlog",
        at_least=20,
    )


OBJECTIVES = Row(
    "Objectives over 30 days",
    [
        numbers(
            "Error budget left",
            "What is left of the bad requests or late events that 30 days may have; of several namespaces, in the "
            "worst. Below 0 the objective is missed.",
            Query(
                f"min by (sloth_slo) ({series('slo:period_error_budget_remaining:ratio')})",
                "{{sloth_slo}}",
            ),
            unit="percentunit",
            decimals=1,
            base="red",
            thresholds=[(0, "orange"), (0.25, "green")],
            runbooks=_ALERTS,
        ),
        numbers(
            "Good in the last hour",
            "recommend: answered in time and ranked by the model. freshness: events that were in the summary within "
            "60 s. events: requests that were accepted. Green is at least the objective.",
            Query(f"1 - max by (sloth_slo) ({series('slo:sli_error:ratio_rate1h')})", "{{sloth_slo}}"),
            unit="percentunit",
            decimals=2,
            base="red",
            thresholds=[(0.99, "orange"), (0.999, "green")],
            others={"freshness": ("red", [(0.95, "orange"), (0.99, "green")])},
            runbooks=_ALERTS,
        ),
        numbers(
            "Burn rate, last 5 minutes",
            "How many times too fast the error budget burns right now.",
            Query(f"max by (sloth_slo) ({series('slo:current_burn_rate:ratio')})", "{{sloth_slo}}"),
            unit="short",
            decimals=1,
            thresholds=[(1, "yellow"), (6, "orange"), (14.4, "red")],
            runbooks=_ALERTS,
        ),
        table(
            "Firing alerts",
            "Alerts of Tastestream that fire now. The page of each alert says what to do: follow Runbooks.",
            Query(or_none(f"sum by (alertname, severity) ({_FIRING})", "alertname")),
            columns=["alertname", "severity"],
        ),
        _burn("recommend", "recommendations", _ALERTS[0]),
        _burn("freshness", "freshness of summaries", _ALERTS[1]),
        _burn("events", "accepted events", _ALERTS[2]),
    ],
)

WRONG = Row(
    "What is wrong",
    [
        lines(
            "Recommendations that miss the objective",
            "Share of the requests by result: degraded (not ranked by the model as it should be), late (after the "
            "deadline), failed (5xx or 429).",
            Query(
                share(
                    per_second("tastestream_recommend_slo_total", 'result!="good"', by="result"),
                    per_second("tastestream_recommend_slo_total"),
                    by="result",
                ),
                "{{result}}",
            ),
            unit="percentunit",
            width=6,
            stacked=True,
            runbooks=[_ALERTS[0]],
        ),
        lines(
            "Events that miss their objectives",
            "Share of the requests to POST /events that were refused, and of the folded events that were not in the "
            "summary within 60 s, in the last 5 minutes.",
            *(Query(f"max ({series('slo:sli_error:ratio_rate5m', _one(slo))})", name) for slo, name in _EVENTS.items()),
            unit="percentunit",
            width=6,
            runbooks=_ALERTS[1:],
        ),
        lines(
            "Degraded, by reason",
            "Share of the recommendations that come from cached scores, co-occurrence or popularity, by reason.",
            Query(
                or_none(
                    share(
                        per_second("tastestream_recommendations_total", 'degraded_reason!=""', by="degraded_reason"),
                        per_second("tastestream_recommendations_total"),
                        by="degraded_reason",
                    ),
                    "degraded_reason",
                ),
                "{{degraded_reason}}",
            ),
            unit="percentunit",
            width=6,
            stacked=True,
            runbooks=["TastestreamDegradedShare", "TastestreamRankerDown", "TastestreamRankerShedding"],
        ),
        lines(
            "Errors, by code",
            "Answers with an error. `internal_error` is always a bug; codes of the caller's mistakes are no reason "
            "to worry.",
            Query(occurring(per_second("tastestream_errors_total", by="code"), "code"), "{{code}}"),
            unit="reqps",
            width=6,
            runbooks=["TastestreamInternalErrors"],
        ),
    ],
)
