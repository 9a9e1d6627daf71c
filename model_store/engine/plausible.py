"""Checks that what a model wrote looks like a summary, since its input may have injected a prompt.

Every later prompt about the user includes the summary: instructions, links or markup in it would persist.
"""

import re
import unicodedata
from collections import Counter

from model_store.engine.errors import BadAnswer

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
"""The same text five times in a row."""
_STRAY_LETTERS = 2
"""Letters that are accepted of a script that the input lacks: one may be a symbol."""
_EAST_ASIAN = frozenset(("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO"))
_NEUTRAL = frozenset(("FEMININE", "MASCULINE", "MODIFIER", "MICRO", "FULLWIDTH", "HALFWIDTH", "OTHER"))
_REASONS = (
    (_LINK, "it has a link"),
    (_MARKUP, "it has markup"),
    (_INSTRUCTION, "it gives instructions"),
    (_LOOP, "it repeats itself without end"),
)


def require_plausible(written: str, *, prompt: str | None = None, opening: str = "") -> str:
    """`written`, if it may be a summary; for the arguments see `implausible`.

    Raises:
        BadAnswer: implausible.
    """
    if reason := implausible(written, prompt=prompt, opening=opening):
        raise BadAnswer("implausible", f"the answer is not a summary: {reason}; it begins with {written[:60]!r}")
    return written


def implausible(text: str, *, prompt: str | None = None, opening: str = "") -> str:
    """Why `text` is not a summary; "" if it may be one.

    Args:
        text: cleaned, and therefore short.
        prompt: what the model was asked, with its data: its scripts are accepted. None accepts every script.
        opening: how a summary has to begin, "" if any way.
    """
    if opening and not text.lower().startswith(opening.lower()):
        return f"it does not begin with {opening!r}"
    for pattern, reason in _REASONS:
        if pattern.search(text):
            return reason
    stray = [] if prompt is None or text.isascii() else _stray_scripts(text, prompt)
    return f"it is written in {', '.join(stray)}, which its input is not" if stray else ""


def _stray_scripts(text: str, prompt: str) -> list[str]:
    known = _scripts(prompt)
    return sorted(
        script.lower() for script, letters in _scripts(text).items() if letters > _STRAY_LETTERS and script not in known
    )


def _scripts(text: str) -> Counter[str]:
    """The letters of each script, by the first word of a letter's Unicode name."""
    return Counter(script for char in text if char.isalpha() and (script := _script(char)) not in _NEUTRAL)


def _script(char: str) -> str:
    name = unicodedata.name(char, "OTHER").split()[0]
    return "EAST ASIAN" if name in _EAST_ASIAN else name
