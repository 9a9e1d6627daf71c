"""Splits the text of a filter expression into tokens. No I/O."""

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |`(?P<quoted>[^`]*)`
    |(?P<name>[^\W\d][\w-]*)
    |(?P<sign>[=!<>~&|^%*+/:?]+)
    |(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_QUOTES = "\"'`"


class Unclosed(Exception):
    """A text in quotes that begins at `place` does not end."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


class Token(NamedTuple):
    """`kind` is the name of a group of `_TOKEN`, or `end`. `place` counts characters from 0."""

    kind: str
    text: str
    place: int

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind == "name" else self.text if self.kind in ("sign", "mark") else ""

    @property
    def shown(self) -> str:
        return repr(self.text[:40]) if self.kind != "end" else "the end"


def split(text: str) -> list[Token]:
    """The tokens of `text`, and one of the kind `end`.

    Raises:
        Unclosed: a text in quotes has no end.
    """
    tokens: list[Token] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        match = _TOKEN.match(text, place)
        assert match is not None, "any character is a mark"  # noqa: S101
        kind = match.lastgroup or ""
        if kind == "mark" and match[kind] in _QUOTES:
            raise Unclosed(place)
        tokens.append(Token(kind, match[kind], place))
        place = match.end()
    return [*tokens, Token("end", "", len(text))]
