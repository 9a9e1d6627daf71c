"""Conditions on the genres, tags and attributes of an item: what a filter expression means. No I/O."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.state.keys import Field as TermField
from service.state.records import Item

ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def equal(value: Any, wanted: Any) -> bool:
    """Whether two values are equal. `true` is not 1."""
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


@dataclass(frozen=True, slots=True)
class Field:
    """The genres, the tags, or the attribute at `path`, which leads through nested objects."""

    path: tuple[str, ...]
    terms: TermField | None = None

    def values(self, item: Item) -> Sequence[Any] | None:
        """The values of the item; None if it lacks the attribute, or has null. Genres and tags are never lacking."""
        if self.terms is not None:
            return item.genres if self.terms == "genres" else item.tags
        value: Any = item.attributes
        for name in self.path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if value is None or isinstance(value, list) else [value]


@dataclass(frozen=True, slots=True)
class Equals:
    """One value of the field is one of `values`; `negated`: the field is there and none is."""

    field: Field
    values: tuple[Any, ...]
    negated: bool = False

    def matches(self, item: Item) -> bool:
        found = self.field.values(item)
        if found is None:
            return False
        return any(equal(one, wanted) for one in found for wanted in self.values) != self.negated


@dataclass(frozen=True, slots=True)
class Ordered:
    """One value of the field is less or more than `value`: numbers among numbers, strings by their characters."""

    field: Field
    order: str
    value: float | str

    def matches(self, item: Item) -> bool:
        kind = str if isinstance(self.value, str) else (int, float)
        compare = ORDERS[self.order]
        return any(
            isinstance(one, kind) and not isinstance(one, bool) and compare(one, self.value)
            for one in self.field.values(item) or ()
        )


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value."""

    field: Field
    negated: bool = False

    def matches(self, item: Item) -> bool:
        return bool(self.field.values(item)) != self.negated


@dataclass(frozen=True, slots=True)
class Not:
    part: "Condition"

    def matches(self, item: Item) -> bool:
        return not self.part.matches(item)


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple["Condition", ...]

    def matches(self, item: Item) -> bool:
        return all(part.matches(item) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple["Condition", ...]

    def matches(self, item: Item) -> bool:
        return any(part.matches(item) for part in self.parts)


Condition = Equals | Ordered | Exists | Not | And | Or


def required(condition: Condition, field: TermField) -> frozenset[str] | None:
    """Genres or tags of which every item that matches has at least one; None if the condition requires none."""
    if isinstance(condition, Equals) and condition.field.terms == field and not condition.negated:
        return frozenset(value for value in condition.values if isinstance(value, str))
    if isinstance(condition, And | Or):
        found = [required(part, field) for part in condition.parts]
        known = [terms for terms in found if terms is not None]
        if isinstance(condition, And):
            return min(known, key=len, default=None)
        return frozenset().union(*known) if len(known) == len(found) else None
    return None
