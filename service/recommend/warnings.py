"""Warnings about what is missing in an answer, and about unused parts of the request. No I/O."""

from collections.abc import Collection, Sequence

from service.index.rows import Rows
from service.recommend.context import MOST_SHOWN, Situation
from service.recommend.retrieval.retriever import Retrieved
from service.recommend.rules import Arranged, Odds, Rules
from service.recommend.schemas import RecommendIn, Skipped, SkipReason, Warned, WarningCode
from service.state.records import Event

NO_CANDIDATES: WarningCode = "no_candidates"
REASONS = {
    "none_given": "the list of candidates is empty",
    "unknown_item": "none of the candidates is in the catalogue or has a title",
    "seen": "the user has seen all of them",
    "excluded": "exclude_item_ids or earlier pages name all of them",
    "filtered": "none of them passes the filters",
    "mixed": "each of them was seen, is excluded or on an earlier page, is unknown or does not pass the filters",
    "empty_catalogue": "the catalogue is empty",
}
_NOT_LOOKED_AT: frozenset[SkipReason] = frozenset({"seen", "excluded"})


def warn(ask: RecommendIn, found: Retrieved, filtered: Sequence[Skipped], ranked: int) -> list[Warned]:
    """The warnings of an answer that had `ranked` items to choose from."""
    warned = []
    if ranked == 0:
        reason = _reason(ask, found, filtered)
        warned.append(Warned(NO_CANDIDATES, f"nothing was ranked: {REASONS[reason]}", reason))
    rejected = _rejected(found, filtered)
    if ranked == 0 and ask.filter is not None and "filtered" in rejected:
        detail = "no item that was looked at matches the expression in filter; an item without an attribute matches no "
        apart = "; items that were seen, are excluded or on an earlier page were not looked at"
        warned.append(
            Warned("filter_matched_nothing", f"{detail}condition on it{apart if rejected & _NOT_LOOKED_AT else ''}")
        )
    if found.bounded:
        detail = "the search reached its limit; more items may pass the filters, send them as candidates"
        warned.append(Warned("filters_exhausted", detail))
    return warned


def warn_of_rules(ask: RecommendIn, odds: Odds, arranged: Arranged, ranked: int) -> list[Warned]:
    """Warnings about what was not shown of `ranked` items, and about options that had no effect."""
    if ranked == 0:
        return []
    none, left = "none of the candidates", len(arranged.items)
    warned = []
    repeated = sum(skipped.reason == "near_duplicate" for skipped in arranged.skipped)
    if repeated and left < ask.k:
        detail = f"{repeated} items are nearly the same as others, which leaves {left}; k is {ask.k}"
        warned.append(Warned("fewer_than_k", detail))
    elif ranked < ask.k and (ask.candidates is None or len(ask.candidates) >= ask.k):
        warned.append(Warned("fewer_than_k", f"only {ranked} items can be recommended, k is {ask.k}"))
    warned += [Warned("boost_unused", f"boosts.{place}: {none} matches its filter") for place in odds.unused]
    warned += [Warned("max_per_unused", f"max_per: {none} has {name!r}") for name in arranged.unused]
    if arranged.by_genres:
        warned.append(
            Warned("diversity_by_genres", "no vectors of the items could be used: only genres tell them apart")
        )
    capped = sum(skipped.reason == "max_per" for skipped in arranged.skipped)
    if capped and left < ask.k:
        detail = f"{capped} items were passed over for max_per, which leaves {left}; k is {ask.k}"
        warned.append(Warned("max_per_short", detail))
    return warned


def warn_of_vectors(rules: Rules, found: Retrieved, vectors: Rows) -> list[Warned]:
    """A warning if vectors could not be read.

    Args:
        vectors: of the items that are compared to choose what is shown.
    """
    lacking = ["no candidates were found by them"] if found.vectors_unavailable else []
    if vectors.unavailable and rules.retrieved:
        lacking.append("nearly equal items may be shown")
    if vectors.unavailable and rules.diversity:
        lacking.append("diversity counts genres alone")
    if not lacking:
        return []
    return [Warned("vectors_unavailable", f"the vectors of items could not be read in time: {', '.join(lacking)}")]


def warn_of_user(
    ask: RecommendIn, context: Situation | None, recents: Sequence[Event], items: Collection[str]
) -> list[Warned]:
    """Warnings about the user's events and the context.

    Args:
        context: the part of the request's context that the model is shown; None if its prompts show no context.
        recents: the interactions that it is shown.
        items: the items of the recents that are in the catalogue.
    """
    warned = []
    lacking = [event.item_id for event in recents if event.item_id not in items]
    if lacking:
        detail = (
            f"{len(lacking)} of the user's last {len(recents)} interactions are with items that the catalogue lacks, "
            f"the last with {lacking[-1]!r}: the model is not shown them"
        )
        warned.append(Warned("unknown_recents", detail))
    if ask.context and context is None:
        detail = "the prompts of the model version show no context, or no model is configured"
        warned.append(Warned("context_unused", detail))
    elif context is not None and (unused := sorted((ask.context or {}).keys() - dict(context).keys())):
        shown = f"the model is shown at most {MOST_SHOWN} texts, numbers and booleans in order of name"
        warned.append(Warned("context_partly_unused", f"{shown}; {unused[0][:40]!r} is left out"))
    return warned


def _reason(ask: RecommendIn, found: Retrieved, filtered: Sequence[Skipped]) -> str:
    """Why nothing was ranked, one of `REASONS`."""
    if ask.candidates is not None and not ask.candidates:
        return "none_given"
    reasons = _rejected(found, filtered) - {"duplicate"}
    if not reasons:
        return "empty_catalogue"
    return next(iter(reasons)) if len(reasons) == 1 else "mixed"


def _rejected(found: Retrieved, filtered: Sequence[Skipped]) -> set[SkipReason]:
    """The reasons for which candidates were passed over."""
    return {reason for reason, count in found.rejected.items() if count} | {
        skipped.reason for skipped in (*found.skipped, *filtered)
    }
