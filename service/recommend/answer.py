"""The response of `POST /recommend`, and its metrics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields

from service.metrics import Metrics
from service.recommend.blend import Scored
from service.recommend.candidates import Candidate
from service.recommend.deadline import Timing
from service.recommend.ranking import Ranking
from service.recommend.receipts import issue
from service.recommend.schemas import (
    Components,
    ExplainedItem,
    Policy,
    RankedItem,
    Recommendation,
    RecommendIn,
    ServedBy,
    Skipped,
    SourceName,
    Warned,
)
from service.recommend.warnings import NO_CANDIDATES
from service.state.records import UserState


def answer(
    ask: RecommendIn,
    state: UserState,
    model: str | None,
    policy: Policy,
    ranking: Ranking,
    scored: Sequence[Scored],
    chosen: Sequence[Scored],
    candidates: Sequence[Candidate],
    skipped: list[Skipped],
    warnings: list[Warned],
    timing_ms: Mapping[str, float],
) -> Recommendation:
    """The items `chosen` of those that were `scored`, with explanations and warnings."""
    served_by = _served_by(ranking, scored)
    sources = {candidate.item.item_id: candidate.source for candidate in candidates} if ask.explain else {}
    return Recommendation(
        recommendation_id=issue(served_by, model, policy, [item.item_id for item in chosen]),
        user_id=ask.user_id,
        items=[_item(item, place, sources.get(item.item_id)) for place, item in enumerate(chosen, start=1)],
        served_by=served_by,
        degraded=ranking.reason is not None,
        degraded_reason=ranking.reason,
        model=model,
        policy=policy,
        summary_version=state.summary.version if state.summary else 0,
        pending_events=state.pending,
        skipped=skipped,
        warnings=warnings,
        timing_ms=timing_ms,
    )


def count(
    metrics: Metrics,
    tenant: str,
    ask: RecommendIn,
    recommendation: Recommendation,
    found: Sequence[Candidate],
    ranked: int,
    timing: Timing,
) -> None:
    """Count an answer for which `found` were retrieved or given, and that had `ranked` of them to choose from."""
    served_by, items = recommendation.served_by, len(recommendation.items)
    metrics.recommendations.labels(tenant, served_by, recommendation.degraded_reason or "").inc()
    ranked_by = (recommendation.model or "", recommendation.policy)
    metrics.version_recommendations.labels(*ranked_by, recommendation.degraded_reason or "").inc()
    if items:
        metrics.exposures.labels(served_by, recommendation.model or "").inc()
        metrics.version_exposures.labels(*ranked_by).inc()
    if 0 < items < ask.k:
        metrics.short_recommendations.inc()
    for source, number in Counter(candidate.source for candidate in found).items():
        metrics.retrieved_candidates.labels(source).inc(number)
    metrics.ranked_candidates.observe(ranked)
    passed_over = sum(skipped.reason in ("max_per", "near_duplicate") for skipped in recommendation.skipped)
    metrics.candidates.labels("ranked").inc(ranked - passed_over)
    for warned in recommendation.warnings:
        if warned.code == NO_CANDIDATES and warned.reason:
            metrics.empty_recommendations.labels(warned.reason).inc()
    for skipped in recommendation.skipped:
        metrics.candidates.labels(skipped.reason).inc()
    for step, seconds in timing.seconds.items():
        metrics.step_seconds.labels(step).observe(seconds)


def _served_by(ranking: Ranking, scored: Sequence[Scored]) -> ServedBy:
    """The best feature that the order is based on."""
    if not scored:
        return "none"
    if ranking.reason is None:
        return "cache" if ranking.scores and not ranking.fresh else "mllm"
    if ranking.scores:
        return "cache"
    near = any(item.collaborative > 0 or item.item_weights or item.item_vectors for item in scored)
    return "collaborative" if near else "popular"


def _item(scored: Scored, place: int, source: SourceName | None) -> RankedItem | ExplainedItem:
    """One item of the answer; with its components if `source` is given."""
    if source is None:
        return RankedItem(scored.item_id, scored.score, place)
    components = Components(*(getattr(scored, one.name) for one in fields(Components)))
    return ExplainedItem(scored.item_id, scored.score, place, components, source)
