"""The way of a recommendation: state -> retrieve -> filter -> rank -> blend -> answer, under one deadline."""

from collections.abc import Awaitable, Mapping
from typing import TypeVar

from model_store.registry.manifest import Blend
from service.metrics import Metrics
from service.parts import Parts
from service.recommend.blend import Evidence, Scored, blended, without_model
from service.recommend.context import situation
from service.recommend.deadline import Deadline, Timing
from service.recommend.filters import Candidate, keep
from service.recommend.ranking import Ranking, rank
from service.recommend.receipts import issue
from service.recommend.retrieve import open_request, retrieve
from service.recommend.schemas import (
    Components,
    ExplainedItem,
    RankedItem,
    Recommendation,
    RecommendIn,
    ServedBy,
    Skipped,
    SourceName,
    Warned,
)
from service.recommend.warnings import NO_CANDIDATES, warn, warn_of_user
from service.state.records import UserState

T = TypeVar("T")


async def recommend(ask: RecommendIn, parts: Parts, deadline: Deadline) -> Recommendation:
    """Rank candidates for a user; in time, and with what there is.

    Raises:
        StateUnavailable: the state store can't be read before the service's deadline.
        DeadlineExceeded: nor before the one that the caller asked for.
    """
    timing = Timing()
    with timing.step("state"):
        opening = await _in_time(open_request(ask, parts), deadline)
    state = opening.state
    context = situation(ask.context) if parts.ranker and parts.ranker.reads_context else None
    with timing.step("retrieve"):
        found = await _in_time(retrieve(ask, opening, parts, deadline), deadline)
    with timing.step("filter"):
        kept, filtered = keep(found.candidates, state.seen if ask.exclude_seen else frozenset(), ask.filters)
    with timing.step("rank"):
        ranking = await rank(opening, found.recents, context, kept, parts, deadline)
    with timing.step("blend"):
        evidence = Evidence(ranking.scores, found.collaborative, found.popular)
        scored = blended([candidate.item.item_id for candidate in kept], evidence, _blend(ranking, parts))
    warnings = warn(ask, found, filtered, len(scored))
    warnings += warn_of_user(ask, context, state.recents[-parts.settings.recommend.prompt_recents :], found.recents)
    answer = _answer(ask, state, [*found.skipped, *filtered], ranking, scored, _sources(kept), warnings, parts, timing)
    _count(parts.metrics, answer, len(scored), timing)
    return answer


async def _in_time(read: Awaitable[T], deadline: Deadline) -> T:
    try:
        async with deadline.limit():
            return await read
    except TimeoutError:
        raise deadline.exceeded("the state store did not answer") from None


def _blend(ranking: Ranking, parts: Parts) -> Blend:
    blend = parts.ranker.blend if parts.ranker else Blend()
    return blend if ranking.reason is None else without_model(blend)


def _answer(
    ask: RecommendIn,
    state: UserState,
    skipped: list[Skipped],
    ranking: Ranking,
    scored: list[Scored],
    sources: Mapping[str, SourceName],
    warnings: list[Warned],
    parts: Parts,
    timing: Timing,
) -> Recommendation:
    best, served_by = scored[: ask.k], _served_by(ranking, scored)
    return Recommendation(
        recommendation_id=issue(served_by, parts.ranker.id if parts.ranker else None),
        user_id=ask.user_id,
        items=[
            _item(item, place, sources[item.item_id] if ask.explain else None)
            for place, item in enumerate(best, start=1)
        ],
        served_by=served_by,
        degraded=ranking.reason is not None,
        degraded_reason=ranking.reason,
        model=parts.ranker.id if parts.ranker else None,
        summary_version=state.summary.version if state.summary else 0,
        pending_events=state.pending,
        skipped=skipped,
        warnings=warnings,
        timing_ms=timing.close(),
    )


def _served_by(ranking: Ranking, scored: list[Scored]) -> ServedBy:
    """The best evidence that the order rests on."""
    if not scored:
        return "none"
    if ranking.reason is None:
        return "cache" if ranking.scores and not ranking.fresh else "mllm"
    if ranking.scores:
        return "cache"
    return "collaborative" if any(item.collaborative > 0 for item in scored) else "popular"


def _sources(candidates: list[Candidate]) -> dict[str, SourceName]:
    return {candidate.item.item_id: candidate.source for candidate in candidates}


def _item(scored: Scored, place: int, source: SourceName | None) -> RankedItem | ExplainedItem:
    """`source` is given where the item is to be explained."""
    if source is None:
        return RankedItem(scored.item_id, scored.score, place)
    components = Components(scored.mllm, scored.collaborative, scored.popular)
    return ExplainedItem(scored.item_id, scored.score, place, components, source)


def _count(metrics: Metrics, answer: Recommendation, ranked: int, timing: Timing) -> None:
    metrics.recommendations.labels(answer.served_by, answer.degraded_reason or "").inc()
    metrics.candidates.labels("ranked").inc(ranked)
    for warned in answer.warnings:
        if warned.code == NO_CANDIDATES and warned.reason:
            metrics.empty_recommendations.labels(warned.reason).inc()
    for skipped in answer.skipped:
        metrics.candidates.labels(skipped.reason).inc()
    for step, seconds in timing.seconds.items():
        metrics.step_seconds.labels(step).observe(seconds)
