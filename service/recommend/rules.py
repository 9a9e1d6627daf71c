"""The rules that a request sets for its answer, checked and compiled once. No I/O."""

from dataclasses import dataclass

from service.recommend.expression import parse
from service.recommend.filters import ItemFilter, LeftOut
from service.recommend.schemas import RecommendIn
from service.state.records import UserState


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one request.

    Args:
        excluded: ids that the caller does not want.
        wanted: what an item must have; None if it may be any.
    """

    excluded: frozenset[str] = frozenset()
    wanted: ItemFilter | None = None

    @classmethod
    def of(cls, ask: RecommendIn) -> "Rules":
        """Those of a request.

        Raises:
            InvalidFilter: an expression is wrong.
        """
        condition = None if ask.filter is None else parse(ask.filter)
        wanted = ItemFilter(ask.filters, condition) if ask.filters or condition else None
        return cls(frozenset(ask.exclude_item_ids), wanted)

    def left_out(self, ask: RecommendIn, state: UserState) -> LeftOut:
        """What is not recommended to this user."""
        return LeftOut(state.seen if ask.exclude_seen else frozenset(), self.excluded)
