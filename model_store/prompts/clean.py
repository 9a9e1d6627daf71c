"""Makes an untrusted text safe to use in a prompt.

Removes control and invisible characters, variation selectors, fillers that look like space, and the markup of the
built-in prompts and of the common model families' chat templates, also in look-alike characters. Zero-width joiners
are kept between letters or emoji: Persian and Indic words need them. Takes linear time for any text.
"""

import re
import unicodedata
from collections.abc import Iterable

_JOINERS = "\u200c\u200d"
_INVISIBLE = re.compile(
    "[\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180f"  # variation selectors
    "\u3164\uffa0\u115f\u1160\u2800\u034f\u17b4\u17b5]"  # fillers
)
_NAMES = (
    r"s|bos|eos|pad|unk|cls|sep|mask|sop|eop|eod|eoh|eoa|unused\d{1,5}|loc\d{4}|seg\d{3}|(?:seed|minimax):[a-z_]+"
    r"|think|thinking|tools?|functions?|image|img|global-img|video|audio|box|quad|ref"
    r"|system|assistant|user|human|note|interactions|item|candidate"
)
_TAG = re.compile(
    rf"<</?SYS>>|</?(?:{_NAMES}|[a-z0-9]+(?:[_\u2581][a-z0-9]+)+)/?>"
    r"|\[/?(?:INST|IMG|THINK|ARGS|PREFIX|MIDDLE|SUFFIX|AUDIO|TRANSCRIBE|SYSTEM|USER|ASSISTANT|BOS|EOS|EOT|[gs]MASK"
    r"|unused\d{1,5}|(?:control|TOOL|TOOLS|AVAILABLE|SYSTEM|IMG|BEGIN|CALL|MODEL|UNUSED)_[a-z0-9_]+)\]",
    re.IGNORECASE,
)
"""Tokens of Gemma, Llama, Mistral, Qwen, DeepSeek, GLM, InternLM, Kimi, MiniMax, PaliGemma, Seed and SmolVLM, and the
tags of the built-in prompts."""
_BARE = ("]~b]", "]~!b[", "[e~[")
"""Those that are not in a pair of brackets."""
_LONGEST_TAG = 48
_LOOK_ALIKES = str.maketrans(
    {
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
        **dict.fromkeys("\u2039\u2329\u3008\u27e8\u276c\u276e\u2770\ufe64\u02c2\u1438\u25c1", "<"),
        **dict.fromkeys("\u203a\u232a\u3009\u27e9\u276d\u276f\u2771\ufe65\u02c3\u1433\u25b7", ">"),
        **dict.fromkeys("\u01c0\u2223\u2758\u2502\u23d0", "|"),
        **dict.fromkeys("\u2044\u2215", "/"),
    }
)
"""One character for one: positions in the text stay the same."""
_HALF_DELIMITER = re.compile(r"(?<=[<\uff1c])(?=[|\uff5c])|(?<=[|\uff5c])(?=[>\uff1e])")


def clean(text: str, limit: int) -> str:
    """Return `text` on one line, without control, invisible or chat-markup characters, cut to `limit` characters."""
    text = text[: 4 * limit]
    ascii_only = text.isascii()
    if not (ascii_only and text.isprintable()):
        text = unicodedata.normalize("NFC", _visible(text))
    text = _without_markup(text)
    if not ascii_only:
        # The characters on both sides of removed markup may combine into one letter.
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())[:limit].rstrip(" " + _JOINERS)


def clean_all(texts: Iterable[str], count: int, limit: int) -> list[str]:
    """Clean each of the first `count` texts and drop those with nothing left."""
    return [cleaned for text in list(texts)[:count] if (cleaned := clean(text, limit))]


def _visible(text: str) -> str:
    """Without invisible characters; joiners are kept between two letters or emoji that are not ASCII."""
    text = _INVISIBLE.sub("", text)
    if text.isprintable():
        return text
    kept: list[str] = []
    joiner = ""
    for char in text:
        if char in _JOINERS:
            joiner = char if kept and _joins(kept[-1]) else ""
        elif char.isspace():
            kept.append(" ")
            joiner = ""
        elif unicodedata.category(char)[0] != "C":
            if joiner and _joins(char):
                kept.append(joiner)
            kept.append(char)
            joiner = ""
    return "".join(kept)


def _joins(char: str) -> bool:
    return char > "\x7f" and (unicodedata.category(char)[0] in "LM" or unicodedata.category(char) in ("So", "Sk"))


def _without_markup(text: str) -> str:
    """One pass: at each closing bracket, the text kept so far is searched for markup."""
    shape = text.translate(_LOOK_ALIKES)
    if "<" not in shape and "[" not in shape and "|>" not in shape and "]~" not in shape:
        return text
    kept, shapes = [], []
    opened: list[int] = []
    for char, seen in zip(text, shape, strict=True):
        kept.append(char)
        shapes.append(seen)
        if seen == "|" and shapes[-2:-1] == ["<"]:
            opened.append(len(shapes) - 2)
        elif seen in (">", "]", "[") and (start := _start_of_markup(shapes, opened)) is not None:
            del kept[start:], shapes[start:]
            while opened and opened[-1] >= start:
                opened.pop()
    return _HALF_DELIMITER.sub(" ", "".join(kept))


def _start_of_markup(shapes: list[str], opened: list[int]) -> int | None:
    """Where the markup begins that ends with the last of `shapes`, if any; `opened` are the positions of `<|`."""
    if shapes[-2:] == ["|", ">"]:
        # In `<|>` one bar can't both open and close.
        return next((place for place in reversed(opened[-2:]) if place <= len(shapes) - 4), None)
    tail = "".join(shapes[-_LONGEST_TAG:])
    for token in _BARE:
        if tail.lower().endswith(token):
            return len(shapes) - len(token)
    start = tail.rfind("<" if tail[-1] == ">" else "[")
    if tail.endswith(">>") and tail[max(0, start - 1) : start] == "<":
        start -= 1
    return len(shapes) - len(tail) + start if start >= 0 and _TAG.fullmatch(tail, start) else None
