"""Checks that what a model wrote looks like a summary, since its input may have injected a prompt.

Every later prompt about the user includes the summary: instructions, links or markup in it would persist.
"""

import re
import unicodedata
from collections import Counter

from model_store.engine.errors import BadAnswer

_LINK = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://|\bwww\.[a-z0-9-]{1,63}\.|\b(?:mailto|javascript):|\bdata:[a-z]+/|\]\("
    r"|(?<!\S)//[a-z0-9-]{1,63}\.|\b[a-z0-9-]{1,63}\.[a-z]{2,24}/\S|[\w.+-]@[a-z0-9-]{1,63}\.[a-z]",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"</?[a-z][^<>]{0,200}>|```|<\||\|>|\{[{%#]|[%}]\}|^[{\[]\s?\"", re.IGNORECASE)
_INSTRUCTION = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|prompts?|rules)\b"
    r"|\b(?:system|developer) (?:prompt|message|instructions?)\b|\byou (?:are now|must)\b|\bas an ai\b"
    r"|\b(?:always|only) (?:answer|respond|reply|output)\b"
    r"|\b(?:answer|respond|reply) (?:with )?[\"']?(?:yes|no)\b",
    re.IGNORECASE,
)
_INSTRUCTION_ABROAD = re.compile(
    "ignor.{0,40}(?:instruc(?:tions|ciones|oes)|anweisung|istruzioni|polecenia)"  # French to Portuguese, German, Polish
    "|\u0438\u0433\u043d\u043e\u0440.{0,40}\u0438\u043d\u0441\u0442\u0440\u0443\u043a\u0446"  # Russian
    "|\u5ffd\u7565.{0,20}\u6307\u793a|\u6307\u793a.{0,20}\u7121\u8996"  # Chinese, Japanese
    "|\uc9c0\uc2dc.{0,20}\ubb34\uc2dc"  # Korean
    "|\u062a\u062c\u0627\u0647\u0644.{0,40}\u062a\u0639\u0644\u064a\u0645"  # Arabic
    "|\u0928\u093f\u0930\u094d\u0926\u0947\u0936.{0,40}\u0905\u0928\u0926\u0947\u0916"  # Hindi
    "|talimat.{0,40}yok say",  # Turkish
    re.IGNORECASE,
)
"""The sentence that most attacks begin with, in the languages with most speakers."""
_LOOP = re.compile(r"(.{2,60}?)\1{4,}")
"""The same text five times in a row."""
_DRAWN_ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0406"
    "\u0391\u0395\u0397\u0399\u039f\u03a1\u03a4\u03bf\u03b1\u03c1"
    "\u2044\u2215\u29f8\u2236",
    "aeopcyxijsdABEKMHOPCTXIAEHIOPToap///:",
)
"""Cyrillic and Greek letters, and signs, that are drawn like those of ASCII."""
_STRAY_LETTERS = 2
"""Letters that are accepted of a script that the input lacks: one may be a symbol."""
_EAST_ASIAN = frozenset(("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO"))
_NEUTRAL = frozenset(("FEMININE", "MASCULINE", "MODIFIER", "MICRO", "FULLWIDTH", "HALFWIDTH", "OTHER"))
_REASONS = (
    (_LINK, "it has a link"),
    (_MARKUP, "it has markup"),
    (_INSTRUCTION, "it gives instructions"),
    (_INSTRUCTION_ABROAD, "it gives instructions"),
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
    folded = _folded(text)
    for pattern, reason in _REASONS:
        if pattern.search(text) or pattern.search(folded):
            return reason
    stray = [] if prompt is None or text.isascii() else _stray_scripts(text, prompt)
    return f"it is written in {', '.join(stray)}, which its input is not" if stray else ""


def _folded(text: str) -> str:
    """The same without accents and in plain letters, as a reader would take it."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char)).translate(_DRAWN_ALIKE)


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
