"""The rules that a request sets for its answer, checked and compiled once. No I/O."""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from service.errors import InvalidFilter, InvalidRequest
from service.index.rows import NO_ROWS, Rows
from service.recommend.blend import Factors, Scored
from service.recommend.candidates import Candidate
from service.recommend.conditions import Condition, Field
from service.recommend.diversity import Likeness, diversified
from service.recommend.expression import parse, parse_field
from service.recommend.filters import ItemFilter, LeftOut
from service.recommend.schemas import RecommendIn, Skipped
from service.state.records import Item, UserState

LEAST_ROTATION = 1e-3
"""What an item of the last answer keeps of its odds at most rotation: it is still shown where nothing else is left."""


@dataclass(frozen=True, slots=True)
class Boost:
    """The factor by which the odds of items that match are multiplied."""

    condition: Condition
    factor: float


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `most` items of an answer share a value of the field, which the request calls `name`."""

    name: str
    field: Field
    most: int


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one request.

    Args:
        excluded: ids that the caller does not want.
        wanted: what an item must have; None if it may be any.
        diversity: how much the items of the answer should differ, 0..1.
        retrieved: the candidates are not the caller's.
    """

    excluded: frozenset[str] = frozenset()
    wanted: ItemFilter | None = None
    boosts: Sequence[Boost] = ()
    caps: Sequence[Cap] = ()
    diversity: float = 0.0
    retrieved: bool = False

    @classmethod
    def of(cls, ask: RecommendIn) -> "Rules":
        """Those of a request.

        Raises:
            InvalidFilter: an expression is wrong.
            InvalidRequest: `max_per` names a field that can't be read.
        """
        condition = None if ask.filter is None else parse(ask.filter)
        wanted = ItemFilter(ask.filters, condition) if ask.filters or condition else None
        boosts = [
            Boost(parse(boost.filter, f"boosts.{place}.filter"), boost.factor) for place, boost in enumerate(ask.boosts)
        ]
        caps = [Cap(name, _field(name), most) for name, most in ask.max_per.items()]
        return cls(
            frozenset(ask.exclude_item_ids), wanted, boosts, caps, ask.diversity, retrieved=ask.candidates is None
        )

    def left_out(self, ask: RecommendIn, state: UserState, earlier: Iterable[str] = ()) -> LeftOut:
        """What is not recommended to this user; `earlier` are the items of earlier pages."""
        return LeftOut(state.seen if ask.exclude_seen else frozenset(), self.excluded.union(earlier))

    def compared(self, candidates: Iterable[Candidate], earlier: Sequence[str]) -> list[str]:
        """The items whose vectors decide what is shown: of the candidates, and of those on earlier pages."""
        ids = [candidate.item.item_id for candidate in candidates]
        if self.retrieved and ids:
            return [*ids, *earlier]
        return ids if self.diversity else []


@dataclass(frozen=True, slots=True)
class Odds:
    """What the odds of candidates are multiplied by.

    Args:
        factors: by item id; an item that is missing keeps its odds.
        unused: the places of boosts that match no candidate.
    """

    factors: Mapping[str, Factors] = field(default_factory=dict)
    unused: Sequence[int] = ()


def odds(
    rules: Rules, candidates: Iterable[Candidate], rotating: Sequence[Sequence[str]] = (), rotation: float = 0.0
) -> Odds:
    """The factors of the candidates; those of several boosts are multiplied.

    Args:
        rotating: the items of each of the last answers, the newest first.
        rotation: what the last answer takes from the odds of its items, 0..1; one before it takes half as much.
    """
    if not rules.boosts and not rotating:
        return Odds()
    shown: dict[str, float] = defaultdict(float)
    for age, items in enumerate(rotating):
        for name in items:
            shown[name] += 0.5**age
    factors, matched = {}, Counter[int]()
    for item in (candidate.item for candidate in candidates):
        places = [place for place, boost in enumerate(rules.boosts) if boost.condition.matches(item)]
        given_way = max(1.0 - rotation, LEAST_ROTATION) ** shown[item.item_id]
        if places or given_way < 1.0:
            boost = math.prod(rules.boosts[place].factor for place in places)
            factors[item.item_id] = Factors(boost=boost, rotation=given_way)
        matched.update(places)
    return Odds(factors, [place for place in range(len(rules.boosts)) if not matched[place]])


@dataclass(frozen=True, slots=True)
class Arranged:
    """The items of an answer in their order, and those that would have been in it but for a rule.

    `unused` names the caps of fields that no candidate has; `by_genres`: the items were made diverse without vectors.
    """

    items: list[Scored]
    skipped: list[Skipped] = field(default_factory=list)
    unused: Sequence[str] = ()
    by_genres: bool = False


def arrange(
    scored: Sequence[Scored],
    candidates: Iterable[Candidate],
    k: int,
    rules: Rules,
    vectors: Rows = NO_ROWS,
    same_at: float = 1.0,
    earlier: Sequence[str] = (),
) -> Arranged:
    """At most `k` of `scored`, which is sorted, in the order in which they are shown.

    Args:
        vectors: those of the items that `Rules.compared` names.
        same_at: the cosine from which two retrieved items are nearly the same, and only the better one is shown.
        earlier: the items of earlier pages; retrieved items that are nearly the same as one of them are not shown.
    """
    if not (rules.caps or rules.diversity or rules.retrieved):
        return Arranged(list(scored[:k]))
    items = {candidate.item.item_id: candidate.item for candidate in candidates}
    likeness = Likeness([items[one.item_id] for one in scored], vectors)
    again = likeness.repeated(same_at, earlier) if rules.retrieved else [False] * len(scored)
    skipped: list[Skipped] = []
    counts = Counts(rules.caps)

    def admit(place: int) -> bool:
        name = scored[place].item_id
        if again[place]:
            skipped.append(Skipped(name, "near_duplicate"))
        elif not counts.admit(items[name]):
            skipped.append(Skipped(name, "max_per"))
        else:
            return True
        return False

    if rules.diversity:
        order = diversified([one.score for one in scored], likeness, rules.diversity, k, admit)
    else:
        order = list(islice(filter(admit, range(len(scored))), k))
    unused = [cap.name for cap in rules.caps if not any(cap.field.values(item) for item in items.values())]
    by_genres = bool(rules.diversity and scored) and not likeness.by_vectors
    return Arranged([scored[place] for place in order], skipped, unused, by_genres)


class Counts:
    """Counts the values of the items of an answer for caps."""

    def __init__(self, caps: Sequence[Cap]) -> None:
        self._caps = caps
        self._counts: Counter[Hashable] = Counter()

    def admit(self, item: Item) -> bool:
        """Whether no value of the item has reached its cap; if so, the item counts."""
        keys = [
            (cap.name, *_key(value))
            for cap in self._caps
            for value in cap.field.values(item) or ()
            if _is_scalar(value)
        ]
        most = {cap.name: cap.most for cap in self._caps}
        if any(self._counts[key] >= most[key[0]] for key in keys):
            return False
        self._counts.update(set(keys))
        return True


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _key(value: Any) -> tuple[bool, Any]:
    """Equal for equal values; `true` is not 1."""
    return isinstance(value, bool), value


def _field(name: str) -> Field:
    try:
        return parse_field(name, f"max_per.{name[:100]}")
    except InvalidFilter as error:
        remedy = "a key must be genres, tags or an attribute, such as attributes.brand"
        raise InvalidRequest(f"max_per: {remedy}; {error.detail}", field="max_per") from None
