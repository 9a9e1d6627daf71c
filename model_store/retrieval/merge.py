"""One list of candidates from those of several retrieval stages, each with its share of the places."""

from collections.abc import Mapping, Sequence


def merge_stages(lists: Mapping[str, Sequence[str]], quotas: Mapping[str, float], k: int) -> list[tuple[str, str]]:
    """The first `k` distinct items of all stages, taken in turn: each stage as often as its quota says.

    At any place of the result, a stage has had its share of the items up to there, to within one of them. An item that
    several stages name is counted for the one whose turn comes first. A stage that has no more items leaves its share
    to the others; one without a quota, or with 0, is only asked when all others are empty.

    Args:
        lists: the ids of each stage, best first.
        quotas: the share of each stage; only their proportions count.

    Returns:
        Up to `k` pairs of an id and its stage.

    Raises:
        ValueError: a quota is negative.
    """
    if any(quota < 0 for quota in quotas.values()):
        raise ValueError("a quota must not be negative")
    rest = {name: iter(ids) for name, ids in lists.items()}
    had = dict.fromkeys(lists, 0)
    order = {name: place for place, name in enumerate(lists)}
    found: dict[str, str] = {}
    while rest and len(found) < k:
        # Webster's method: the stage that is the furthest behind its share.
        name = min(rest, key=lambda one: (_behind(had[one], quotas.get(one, 0.0)), order[one]))
        fresh = next((item for item in rest[name] if item not in found), None)
        if fresh is None:
            del rest[name]
        else:
            found[fresh] = name
            had[name] += 1
    return list(found.items())


def _behind(had: int, quota: float) -> float:
    return (had + 0.5) / quota if quota else float("inf")
