"""The first dashboard to open: are the objectives met, and if not, where to look."""

from deploy.grafana.board import Board, Row
from deploy.grafana.objectives import OBJECTIVES, WRONG
from deploy.grafana.panels import Query, lines
from deploy.grafana.processes import LIMITS, PROCESSES
from deploy.grafana.queries import p50_p99, per_second, quantile

_RECOMMEND = 'route="/recommend",method="POST"'
_EVENTS = 'route="/events",method="POST"'
_HTTP = "tastestream_http_request_seconds"

_TRAFFIC_ROW = Row(
    "Traffic",
    [
        lines(
            "Requests, by route",
            "Answered requests by the template of their path.",
            Query(per_second(f"{_HTTP}_count", by="route"), "{{route}}"),
            unit="reqps",
            runbooks=["TastestreamGatewaysGone"],
        ),
        lines(
            "Events, by result",
            "Events, not requests: a request may bring many.",
            Query(per_second("tastestream_events_total", by="result"), "{{result}}"),
            unit="cps",
            runbooks=["TastestreamEventStreamSilent", "TastestreamNoEvents"],
        ),
        lines(
            "Recommendations, by what ranked them",
            "mllm: the model, now. cache: the model, up to 10 minutes ago. collaborative, popular: without the model. "
            "none: an empty list.",
            Query(per_second("tastestream_recommendations_total", by="served_by"), "{{served_by}}"),
            unit="reqps",
            stacked=True,
            runbooks=["TastestreamDegradedShare"],
        ),
        lines(
            "Recommendations, by tenant",
            "Who asks, by the tenant of the API key.",
            Query(per_second("tastestream_recommendations_total", by="tenant"), "{{tenant}}"),
            unit="reqps",
            width=12,
            height=7,
        ),
        lines(
            "Accepted events, by tenant",
            "Who sends events, by the tenant of the API key.",
            Query(per_second("tastestream_events_total", 'result="accepted"', by="tenant"), "{{tenant}}"),
            unit="cps",
            width=12,
            height=7,
        ),
    ],
)

_LATENCY_ROW = Row(
    "Latency",
    [
        lines(
            "POST /recommend",
            "From the first byte of the request to the end of the answer.",
            *p50_p99(_HTTP, _RECOMMEND),
            unit="s",
            width=6,
            runbooks=["TastestreamRecommendBudgetBurn"],
        ),
        lines(
            "Share of the deadline used",
            "1 and more is late. Deadlines differ from caller to caller; this is relative to each.",
            *p50_p99("tastestream_recommend_deadline_used_ratio"),
            unit="percentunit",
            width=6,
            thresholds=[(1, "red")],
            runbooks=["TastestreamRecommendBudgetBurn"],
        ),
        lines(
            "Steps of a recommendation, p95",
            "state and features read from Redis, retrieve finds candidates, rank asks the model.",
            Query(quantile(0.95, "tastestream_recommend_step_seconds", by="step"), "{{step}}"),
            unit="s",
            width=6,
            runbooks=["TastestreamRecommendBudgetBurn"],
        ),
        lines(
            "POST /events",
            "From the first byte of the request to the end of the answer. A stream takes as long as its sender.",
            *p50_p99(_HTTP, _EVENTS),
            unit="s",
            width=6,
            runbooks=["TastestreamEventsBudgetBurn"],
        ),
    ],
)

OVERVIEW = Board(
    "overview",
    "Overview",
    "Whether the three objectives are met, and where to look if they are not.",
    [OBJECTIVES, WRONG, _TRAFFIC_ROW, _LATENCY_ROW, LIMITS, PROCESSES],
)
