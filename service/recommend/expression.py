"""Parses filter expressions such as `price < 20 and genres in ("tea", "gift")`. Recursive descent, no I/O.

expression = conjunction { "or" conjunction }
conjunction = condition { "and" condition }
condition = "not" condition | "(" expression ")" | field test
test = ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value | [ "not" ] "in" "(" value { "," value } ")"
     | [ "not" ] "has" value | [ "not" ] "exists"
field = name { "." name }
value = number | string | "true" | "false" | "null"
"""

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

from service.errors import InvalidFilter
from service.recommend.conditions import ORDERS, And, Condition, Equals, Exists, Field, Not, Or, Ordered
from service.recommend.limits import MOST_CHARS, MOST_CONDITIONS, MOST_LEVELS, MOST_VALUES
from service.recommend.tokens import Token, Unclosed, split

RESERVED = {
    "title": "titles can't be filtered",
    "description": "descriptions can't be filtered",
    "summary": "summaries can't be filtered",
    "item_id": "use exclude_item_ids or candidates",
    "attributes": "name one of them, such as attributes.price",
}
_WORDS = frozenset({"and", "or", "not", "in", "has", "exists", "true", "false", "null"})
_INSTEAD = {
    "==": "=",
    "<>": "!=",
    "=>": ">=",
    "=<": "<=",
    "!": "not",
    "&&": "and",
    "&": "and",
    "||": "or",
    "|": "or",
    "contains": "has",
    "is": "=",
}
_OPERATORS = "the operators are =, !=, <, <=, >, >=, in, has and exists, and not before the last three"
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def parse(text: str, field: str = "filter") -> Condition:
    """The condition that `text` says.

    Args:
        field: the field of the request that holds it, for errors.

    Raises:
        InvalidFilter: with the position and a remedy.
    """
    return _Parser(text, field).whole()


def parse_field(text: str, field: str) -> Field:
    """The genres, tags or attribute that `text` names, as in an expression.

    Raises:
        InvalidFilter: it names none.
    """
    parser = _Parser(text, field)
    found = parser.field()
    parser.end("a field, such as genres or attributes.brand")
    return found


class _Parser:
    def __init__(self, text: str, field: str) -> None:
        self._text, self._field = text, field
        self._at = self._levels = self._conditions = self._values = 0
        if len(text) > MOST_CHARS:
            self._fail(MOST_CHARS, f"longer than {MOST_CHARS} characters; shorten it")
        try:
            self._tokens = split(text)
        except Unclosed as error:
            self._fail(error.place, f"the text that begins here is not closed; write {text[error.place]} at its end")

    def whole(self) -> Condition:
        if self._next.kind == "end":
            self._fail(0, "is empty; leave it out, or write a condition such as price < 20")
        condition = self._expression()
        self.end("'and', 'or' or the end")
        return condition

    def end(self, expected: str) -> None:
        if self._next.kind == "end":
            return
        if instead := _INSTEAD.get(self._next.word):
            self._fail(self._next.place, f"unknown operator {self._next.shown}; write {instead}")
        self._fail(self._next.place, f"expected {expected}, not {self._next.shown}")

    def field(self) -> Field:
        start = self._next
        names = [self._name()]
        while self._next.word == ".":
            self._take()
            names.append(self._name())
        if start.kind == "name" and len(names) == 1:
            if names[0] == "genres":
                return Field(("genres",), "genres")
            if names[0] == "tags":
                return Field(("tags",), "tags")
            if why := RESERVED.get(names[0]):
                self._fail(start.place, f"unknown field {start.shown}: {why}; an attribute can be named in backticks")
        if start.kind == "name" and names[0] == "attributes":
            names = names[1:]
        return Field(tuple(names))

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _expression(self) -> Condition:
        return self._joined("or", lambda: self._joined("and", self._condition, And), Or)

    def _joined(self, word: str, part: Callable[[], Condition], join: type[And | Or]) -> Condition:
        parts = [part()]
        while self._next.word == word:
            self._take()
            parts.append(part())
        return join(tuple(parts)) if len(parts) > 1 else parts[0]

    def _condition(self) -> Condition:
        opening = self._next
        if opening.word not in ("not", "("):
            return self._test()
        self._take()
        self._levels += 1
        if self._levels > MOST_LEVELS:
            self._fail(opening.place, f"nested more than {MOST_LEVELS} levels deep; simplify it")
        condition: Condition
        if opening.word == "not":
            condition = Not(self._condition())
        else:
            condition = self._expression()
            self._close(opening)
        self._levels -= 1
        return condition

    def _test(self) -> Condition:
        self._conditions += 1
        if self._conditions > MOST_CONDITIONS:
            self._fail(self._next.place, f"more than {MOST_CONDITIONS} conditions; join equal fields by in (...)")
        field, operator = self.field(), self._take()
        negated = operator.word == "not"
        if negated:
            operator = self._take()
        word = operator.word
        if word == "exists":
            return Exists(field, negated)
        if word == "in":
            return Equals(field, self._list(), negated)
        if word == "has":
            return Equals(field, (self._value(null=False),), negated)
        if negated or word not in ("=", "!=", *ORDERS):
            self._unknown_operator(operator, negated)
        if word in ORDERS:
            return Ordered(field, word, self._value(null=False, boolean=False))
        value = self._value()
        if value is None:
            return Exists(field, word == "=")
        return Equals(field, (value,), word == "!=")

    def _unknown_operator(self, operator: Token, negated: bool) -> NoReturn:
        if operator.kind == "end":
            self._fail(operator.place, f"an operator is missing; {_OPERATORS}")
        if negated:
            self._fail(operator.place, f"after 'not' expected in, has or exists, not {operator.shown}")
        instead = _INSTEAD.get(operator.word)
        remedy = f"write {instead}" if instead else _OPERATORS
        self._fail(operator.place, f"unknown operator {operator.shown}; {remedy}")

    def _list(self) -> tuple[Any, ...]:
        opening = self._take()
        if opening.word != "(":
            self._fail(opening.place, "expected a list in parentheses after in, such as (1, 2)")
        values = [self._value(null=False)]
        while self._next.word == ",":
            self._take()
            values.append(self._value(null=False))
        self._close(opening)
        return tuple(values)

    def _value(self, *, null: bool = True, boolean: bool = True) -> Any:
        self._values += 1
        if self._values > MOST_VALUES:
            self._fail(self._next.place, f"more than {MOST_VALUES} values; split the request")
        token = self._take()
        if token.kind == "number":
            return self._number(token)
        if token.kind == "string":
            return _ESCAPE.sub(r"\1", token.text[1:-1])
        if token.word in ("true", "false"):
            if not boolean:
                self._fail(token.place, f"{token.text} has no order; use = or !=")
            return token.word == "true"
        if token.word != "null":
            remedy = f'; write a text in quotes: "{token.text[:40]}"' if token.kind in ("name", "quoted") else ""
            expected = "expected a number, a string in quotes, true, false or null"
            self._fail(token.place, f"{expected}, not {token.shown}{remedy}")
        if not null:
            self._fail(token.place, "null can only be compared by = and !=; use exists")
        return None

    def _number(self, token: Token) -> float:
        value = float(token.text)
        if not math.isfinite(value):
            self._fail(token.place, "the number is too large")
        return int(token.text) if token.text.lstrip("-").isdigit() else value

    def _name(self) -> str:
        token = self._take()
        if token.kind == "quoted":
            if not token.text:
                self._fail(token.place, "there is no name in the backticks")
            return token.text
        if token.kind != "name":
            self._fail(token.place, f"expected a field, such as price or genres, not {token.shown}")
        if token.word in _WORDS:
            self._fail(token.place, f"{token.shown} is a word of the language; a field of this name goes in backticks")
        return token.text

    def _close(self, opening: Token) -> None:
        token = self._take()
        if token.word == ")":
            return
        if token.kind == "end":
            self._fail(opening.place, "this parenthesis is not closed; write ) at its end")
        self._fail(token.place, f"expected ')', not {token.shown}; the parenthesis opened at {opening.place}")

    def _fail(self, place: int, why: str) -> NoReturn:
        raise InvalidFilter(
            f"{self._field}: at character {place}: {why}", field=self._field, extensions={"position": place}
        )
