"""Whether what a model wrote looks like a summary: its input may have talked it into writing something else.

A summary is read by every later prompt about its user: one that carries instructions, links or markup would stay.
"""

import re
import unicodedata
from collections import Counter

_LINK = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://|\bwww\.[a-z0-9-]{1,63}\.|\bmailto:|\bjavascript:|\]\(", re.IGNORECASE)
_MARKUP = re.compile(r"</?[a-z][^<>]{0,200}>|```|<\||\|>|\{[{%#]|[%}]\}|^[{\[]\s?\"", re.IGNORECASE)
_INSTRUCTION = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|prompts?|rules)\b"
    r"|\b(?:system|developer) (?:prompt|message|instructions?)\b|\byou (?:are now|must)\b|\bas an ai\b"
    r"|\b(?:always|only) (?:answer|respond|reply|output)\b"
    r"|\b(?:answer|respond|reply) (?:with )?[\"']?(?:yes|no)\b",
    re.IGNORECASE,
)
_LOOP = re.compile(r"(.{2,60}?)\1{4,}")
"""One piece five times in a row."""
_STRAY_LETTERS = 2
"""Of a script that the input lacks: one may be a symbol."""
_EAST_ASIAN = frozenset(("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO"))
_NEUTRAL = frozenset(("FEMININE", "MASCULINE", "MODIFIER", "MICRO", "FULLWIDTH", "HALFWIDTH", "OTHER"))


def implausible(text: str, *, prompt: str | None = None, opening: str = "") -> str:
    """Why `text` is no summary; "" if it may be one.

    Args:
        text: cleaned, so that it is short.
        prompt: what the model was asked, with its data: scripts that it has are no reason. None asks for no script.
        opening: how a summary has to begin, "" if that is open.
    """
    if opening and not text.lower().startswith(opening.lower()):
        return f"it does not begin with {opening!r}"
    for pattern, reason in _REASONS:
        if pattern.search(text):
            return reason
    stray = [] if prompt is None or text.isascii() else _stray_scripts(text, prompt)
    return f"it is written in {', '.join(stray)}, which its input is not" if stray else ""


_REASONS = (
    (_LINK, "it has a link"),
    (_MARKUP, "it has markup"),
    (_INSTRUCTION, "it gives instructions"),
    (_LOOP, "it repeats itself without end"),
)


def _stray_scripts(text: str, prompt: str) -> list[str]:
    known = _scripts(prompt)
    return sorted(
        script.lower() for script, letters in _scripts(text).items() if letters > _STRAY_LETTERS and script not in known
    )


def _scripts(text: str) -> Counter[str]:
    """The letters of each script, by the first word of a letter's Unicode name."""
    found = Counter(_script(char) for char in text if char.isalpha())
    return Counter({script: letters for script, letters in found.items() if script not in _NEUTRAL})


def _script(char: str) -> str:
    name = unicodedata.name(char, "OTHER").split()[0]
    return "EAST ASIAN" if name in _EAST_ASIAN else name
