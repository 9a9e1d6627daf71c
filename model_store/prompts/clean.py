"""Making an untrusted text safe to stand in a prompt."""

import re
import unicodedata
from collections.abc import Iterable

# Chat markup of the common model families: a text that carries it could close its own message.
_MARKUP = re.compile(r"<\|[^|<>]{0,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>", re.IGNORECASE)


def clean(text: str, limit: int) -> str:
    """Return `text` on one line, without control, invisible or chat-markup characters, cut to `limit` characters."""
    cleaned = text[: 4 * limit]
    while (again := _pass(cleaned)) != cleaned:
        cleaned = again
    return cleaned[:limit].rstrip()


def _pass(text: str) -> str:
    """One pass of `clean`: what it takes out may put markup or a composed letter together, so passes repeat."""
    if not text.isprintable():
        text = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    text = unicodedata.normalize("NFC", text)
    if "<" in text or "[" in text:
        text = _MARKUP.sub("", text)
    return " ".join(text.split())


def clean_all(texts: Iterable[str], count: int, limit: int) -> list[str]:
    """Clean each of the first `count` texts and drop those with nothing left."""
    return [cleaned for text in list(texts)[:count] if (cleaned := clean(text, limit))]
