"""`POST /recommend`."""

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask

from service.errors import DeadlineExceeded, InvalidFilter, InvalidRequest, PageExpired
from service.http.body_limit import limit_body
from service.http.client_closed import unless_closed
from service.http.ids import require_meaning
from service.http.objectives import judge
from service.http.openapi import json_body
from service.http.pressure import Pressure
from service.http.problems import BODY_ERRORS, COMMON_ERRORS, documented
from service.http.tenants import PerTenant
from service.http.wire import CONTEXT_BYTES, Json, check_bytes, read_json, validate
from service.items.schemas import check_attributes
from service.metrics import Metrics
from service.recommend.deadline import Deadline
from service.recommend.pipeline import Recommender
from service.recommend.schemas import (
    BOOSTS_EXAMPLE,
    CONTEXT_EXAMPLE,
    FILTER_EXAMPLE,
    FILTERS_EXAMPLE,
    MAX_PER_EXAMPLE,
    RECOMMEND_EXAMPLE,
    Recommendation,
    RecommendIn,
)
from service.settings.limits import LimitSettings
from service.settings.recommend import RecommendSettings

_BODY = json_body(
    "RecommendIn",
    candidates=("Rank these", RECOMMEND_EXAMPLE),
    retrieve=("Retrieve items", {"user_id": "u1", "k": 5}),
    filter=(
        "Filter by an expression",
        {"user_id": "u1", "filter": FILTER_EXAMPLE, "exclude_item_ids": ["i7"]},
    ),
    rules=(
        "Boosts and caps",
        {"user_id": "u1", "boosts": BOOSTS_EXAMPLE, "max_per": MAX_PER_EXAMPLE},
    ),
    page=(
        "A diverse page that `after` can continue",
        {"user_id": "u1", "k": 5, "diversity": 0.3, "paged": True},
    ),
    rotation=(
        "Items of the last answers give way, seen ones may be among them",
        {
            "user_id": "u1",
            "filters": FILTERS_EXAMPLE,
            "exclude_seen": False,
            "rotation": 0.5,
            "context": CONTEXT_EXAMPLE,
        },
    ),
    explain=(
        "Within 300 ms, explained",
        {"user_id": "u1", "candidates": ["i7"], "deadline_ms": 300, "explain": True},
    ),
)


def recommend_router(
    recommenders: PerTenant[Recommender],
    settings: RecommendSettings,
    limits: LimitSettings,
    metrics: Metrics,
    pressure: Pressure,
) -> APIRouter:
    """The route that recommends."""
    router = APIRouter(tags=["recommend"])

    @router.post(
        "/recommend",
        summary="Rank items for a user",
        response_model=Recommendation,
        responses=documented(*BODY_ERRORS, *COMMON_ERRORS, InvalidFilter, PageExpired, DeadlineExceeded),
        openapi_extra=_BODY,
    )
    async def post_recommend(request: Request) -> Response:
        """Rank the candidates, or items retrieved for the user, by what the user likes now.

        If the model is late, down or overloaded, the response still arrives before the deadline: `degraded` is true
        and `served_by` names what the order is based on.
        """
        started = time.monotonic()
        limit_body(request.scope, limits.recommend_bytes)
        ask = read_ask(await read_json(request, limits), limits)
        total_s = (ask.deadline_ms or settings.deadline_ms) / 1000
        deadline = Deadline(started, total_s, asked=ask.deadline_ms is not None, lag_s=pressure.lag_s)
        recommender = recommenders.of(request.scope)
        served = await unless_closed(request, recommender.recommend(ask, deadline))
        recommendation = served.recommendation
        response = Json(recommendation, background=BackgroundTask(recommender.after, served))
        used = deadline.used()
        metrics.deadline_used.observe(used)
        if recommendation.degraded or used > 1:
            judge(request.scope, "degraded" if recommendation.degraded else "late")
        return response

    return router


def read_ask(raw: Any, limits: LimitSettings) -> RecommendIn:
    """Check the body against the schema and the limits of the settings.

    Raises:
        InvalidRequest: a field is unknown, missing, invalid or beyond a limit; `field` names it.
    """
    # Before validation, which would take seconds for a body full of candidates.
    if isinstance(raw, dict) and isinstance(given := raw.get("candidates"), list) and len(given) > limits.candidates:
        raise InvalidRequest(f"candidates: more than {limits.candidates}", field="candidates")
    ask = validate(RecommendIn, raw)
    require_meaning(ask.user_id, "user_id")
    if ask.k > limits.max_k:
        raise InvalidRequest(f"k: more than {limits.max_k}", field="k")
    if ask.context is not None:
        check_bytes(ask.context, CONTEXT_BYTES, "context")
    for place, candidate in enumerate(ask.candidates or ()):
        check_attributes(candidate, f"candidates.{place}.")
    return ask
