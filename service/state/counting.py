"""Rankings: sorted sets of members and their counts."""

from collections.abc import Mapping, Sequence

from service.state.encoding import pairs
from service.state.keys import Keys
from service.state.redis.client import Argument
from service.state.redis.scripts import Call

MEMBERS_PER_CALL = 500


def calls(script: str, ranking: str, counts: Mapping[str, float], *first: Argument) -> list[Call]:
    """The runs of `script` that change `ranking` by `counts`; `first` are the arguments that precede these."""
    flat: list[Argument] = [value for member, count in counts.items() for value in (count, member)]
    size = 2 * MEMBERS_PER_CALL
    return [Call(script, (ranking,), (*first, *flat[start : start + size])) for start in range(0, len(flat), size)]


def list_calls(keys: Keys, together: Mapping[str, Mapping[str, float]], most: int) -> list[Call]:
    """The runs of `count` that add these pairs to the items' lists, which keep the `most` frequent."""
    return [call for item, others in together.items() for call in calls("count", keys.neighbours(item), others, most)]


def parse_counts(flat: Sequence[bytes]) -> dict[str, float]:
    """The counts by member, from the result of `ZRANGE ... WITHSCORES`."""
    return {member.decode(): float(count) for member, count in pairs(flat)}
