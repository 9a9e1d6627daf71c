"""What the caller should know of an answer with fewer items than it could have. No I/O."""

from collections.abc import Sequence

from service.recommend.retrieve import Retrieved
from service.recommend.schemas import RecommendIn, Skipped, Warned

NO_CANDIDATES, FEWER_THAN_K, FILTERS_EXHAUSTED = "no_candidates", "fewer_than_k", "filters_exhausted"
_REASONS = {
    "none_given": "the list of candidates is empty",
    "unknown_item": "none of the candidates is in the catalogue or has a title",
    "seen": "the user has seen all of them",
    "filtered": "none of them passes the filters",
    "mixed": "each of them was seen, is unknown or does not pass the filters",
    "empty_catalogue": "the catalogue is empty",
}


def warn(ask: RecommendIn, found: Retrieved, filtered: Sequence[Skipped], ranked: int) -> list[Warned]:
    """The warnings of an answer that had `ranked` items to choose from."""
    warned = []
    if ranked == 0:
        reason = _reason(ask, found, filtered)
        warned.append(Warned(NO_CANDIDATES, f"nothing was ranked: {_REASONS[reason]}", reason))
    elif ranked < ask.k and (ask.candidates is None or len(ask.candidates) >= ask.k):
        warned.append(Warned(FEWER_THAN_K, f"only {ranked} items can be recommended, k is {ask.k}"))
    if found.bounded:
        detail = "the search ended at its bound, there may be more items that pass; send them as candidates"
        warned.append(Warned(FILTERS_EXHAUSTED, detail))
    return warned


def _reason(ask: RecommendIn, found: Retrieved, filtered: Sequence[Skipped]) -> str:
    if ask.candidates is not None and not ask.candidates:
        return "none_given"
    reasons: set[str] = set()
    reasons.update(skipped.reason for skipped in (*found.skipped, *filtered) if skipped.reason != "duplicate")
    reasons |= {reason for reason, count in (("seen", found.seen), ("filtered", found.filtered)) if count}
    if not reasons:
        return "empty_catalogue"
    return reasons.pop() if len(reasons) == 1 else "mixed"
