"""The text of what may be HTML, as the descriptions of shops often are: markup means nothing to a model.

Takes linear time for any text. `html.parser` does not: unclosed comments and tags take it quadratic time.
"""

import re
from collections.abc import Iterator
from html import unescape

MAX_CHARACTERS = 40_000
"""The rest is cut off."""
_LAYERS = 3
"""Of escaping that are removed: feeds escape descriptions that a shop had already escaped."""
_TAGS = (
    "a|abbr|article|aside|b|big|blockquote|body|br|button|caption|center|cite|code|col|colgroup|dd|del|details|dfn|div|dl"
    "|dt|em|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd|label|li|link|main"
    "|mark|meta|nav|noscript|object|ol|p|picture|pre|q|s|samp|script|section|small|source|span|strike|strong|style|sub"
    "|summary|sup|svg|table|tbody|td|template|tfoot|th|thead|title|tr|tt|u|ul|var|video"
)
_HTML = re.compile(rf"<(?:!--|!doctype|/?(?:{_TAGS})(?=[\s/>]))", re.IGNORECASE)
"""What only HTML contains: `<3`, `a < b` and `Vector<T>` are kept."""
_NAME = re.compile(r"/?([a-zA-Z][^\s/>]{0,40})")
_INLINE_TAGS = (
    "a abbr b big cite code del dfn em font i ins kbd mark q s samp small span strike strong sub sup tt u var"
)
_INLINE = frozenset(_INLINE_TAGS.split())
_UNSEEN = frozenset(("script", "style", "template", "noscript", "svg", "head", "iframe", "object"))
_QUOTED_OR_END = re.compile(r"""=\s*(?:"[^"]*"|'[^']*')|>""")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")


def html_text(text: str) -> str:
    """`text` without tags, comments, scripts and styles, and with entities decoded; unchanged if it has no HTML."""
    if "<" not in text and "&" not in text:
        return text
    text = text[:MAX_CHARACTERS]
    for _ in range(_LAYERS):
        before = text
        if _HTML.search(text):
            text = "".join(_seen(text))
        if "&" in text:
            text = _ENTITY.sub(lambda entity: unescape(entity[0]), text)
        if text == before:
            break
    return text


def _seen(text: str) -> Iterator[str]:
    """The pieces between the tags, and a space for every tag that is not inline."""
    scanner = _Scanner(text)
    position = 0
    while (start := text.find("<", position)) >= 0:
        yield text[position:start]
        name = _NAME.match(text, start + 1)
        if name is None and not text.startswith(("<!", "<?", "</"), start):
            yield "<"
            position = start + 1
            continue
        position = scanner.end_of_comment(start) if text.startswith("<!--", start) else scanner.end_of_tag(start)
        tag = name[1].lower() if name else ""
        if tag in _UNSEEN and text[start + 1] != "/" and text[position - 2] != "/":
            position = scanner.end_of_element(tag, position)
        yield "" if tag in _INLINE else " "
    yield text[position:]


class _Scanner:
    """Finds the ends of markup. What is not closed ends with the text: nothing is scanned twice."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._quotes = True

    def end_of_comment(self, start: int) -> int:
        return self._after("-->", start + 4)

    def end_of_tag(self, start: int) -> int:
        """After its `>`, but not one in quotes, unless the quotes are never closed."""
        if self._quotes:
            for found in _QUOTED_OR_END.finditer(self._text, start):
                if found[0] == ">":
                    return found.end()
            self._quotes = False
        return self._after(">", start)

    def end_of_element(self, tag: str, position: int) -> int:
        closing = re.compile(rf"</{tag}\b", re.IGNORECASE).search(self._text, position)
        return self._after(">", closing.end()) if closing else len(self._text)

    def _after(self, mark: str, position: int) -> int:
        found = self._text.find(mark, position)
        return len(self._text) if found < 0 else found + len(mark)
