"""Making an untrusted text safe to stand in a prompt."""

import re
import unicodedata
from collections.abc import Iterable

# Chat markup of the common model families: a text that carries it could close its own message.
_MARKUP = re.compile(r"<\|[^|<>]{0,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>", re.IGNORECASE)
_SPACE = re.compile(r"\s+")


def clean(text: str, limit: int) -> str:
    """Return `text` on one line, without control, invisible or chat-markup characters, cut to `limit` characters."""
    folded = unicodedata.normalize("NFC", text[: 4 * limit])
    visible = "".join(" " if c.isspace() else c for c in folded if c.isspace() or unicodedata.category(c)[0] != "C")
    while (stripped := _MARKUP.sub("", visible)) != visible:
        visible = stripped
    return _SPACE.sub(" ", visible).strip()[:limit].rstrip()


def clean_all(texts: Iterable[str], count: int, limit: int) -> list[str]:
    """Clean each of the first `count` texts and drop those with nothing left."""
    return [cleaned for text in list(texts)[:count] if (cleaned := clean(text, limit))]
