"""The guards against prompt injection, each of which can be switched off to see what it is worth.

The service has no such switches: here parts of `model_store` are replaced for the time of a `with`.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from model_store import prompts as prompts_package
from model_store.engine import chat, plausible
from model_store.prompts import PromptSet, TextLimits

cleaning = import_module("model_store.prompts.clean")
_clean = cleaning.clean
_UNLIMITED = TextLimits(100_000, 100_000, 100_000, 100_000, 100_000, 1_000)
_WARNING = re.compile(r"[^.\n]*\bdata that (?:strangers|others) wrote\b[^.\n]*\. ?|[^.\n]*\bstand between the tags\. ?")
_PARAGRAPH = "\n\n"
_FRAME = re.compile(r"^</?\w+>\n", re.MULTILINE)


def _same(text: str) -> str:
    return text


def _in_lines(text: str, limit: int) -> str:
    lines = (_clean(line, limit) for line in text[: 4 * limit].splitlines())
    return "\n".join(line for line in lines if line)[:limit]


def _unescaped(template: str) -> str:
    return re.sub(r"\{\{ text \| replace.*?\}\}", "{{ text }}", template)


def _unframed(template: str) -> str:
    return _FRAME.sub("", _WARNING.sub("", template))


def _uncut(template: str) -> str:
    return re.sub(r"\[:\d+\]", "", template)


@dataclass(frozen=True)
class Guard:
    """One guard, and what stands in its place when it is off.

    Args:
        name: what tables call it.
        replaced: (module or class, name in it, what makes the substitute of what is there) of the code that it is.
        template: makes a prompt template that lacks it.
    """

    name: str
    replaced: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = ()
    template: Callable[[str], str] = _same


def _by(substitute: Any) -> Callable[[Any], Any]:
    return lambda _: substitute


def _reason(name: str, words: str) -> Guard:
    """One of the reasons for which a summary is refused, by its words."""
    others = lambda reasons: tuple(entry for entry in reasons if words not in entry[1])  # noqa: E731
    return Guard(name, ((plausible, "_REASONS", others),))


PROMPT_GUARDS = (
    Guard("HTML taken out", ((prompts_package, "html_text", _by(_same)),)),
    Guard("invisible characters taken out", ((cleaning, "_visible", _by(_same)),)),
    Guard("chat markup taken out", ((cleaning, "_without_markup", _by(_same)),)),
    Guard("look-alikes of markup known", ((cleaning, "_LOOK_ALIKES", _by({})),)),
    Guard("texts on one line", ((prompts_package, "clean", _by(_in_lines)), (cleaning, "clean", _by(_in_lines)))),
    Guard("lengths capped", ((PromptSet, "limits", _by(_UNLIMITED)),), template=_uncut),
    Guard("< and > escaped", template=_unescaped),
    Guard("data tagged and declared", template=_unframed),
)
"""Those of the way into a prompt."""
OPENING = Guard("summary: its opening")
ANSWER_GUARDS = (
    OPENING,
    _reason("summary: no link", "a link"),
    _reason("summary: no markup", "markup"),
    _reason("summary: no instructions", "instructions"),
    _reason("summary: no loop", "repeats itself"),
    Guard("summary: look-alikes known", ((plausible, "_folded", _by(_same)),)),
    Guard("summary: no other scripts", ((plausible, "_stray_scripts", _by(lambda *_: [])),)),
)
"""Those of the way out of the summarizer."""


@contextmanager
def switched_off(guards: Sequence[Guard]) -> Iterator[None]:
    """The code of these guards is replaced until the end of the `with`; templates are not."""
    with ExitStack() as stack:
        for guard in guards:
            for owner, name, substitute in guard.replaced:
                stack.enter_context(patch.object(owner, name, substitute(getattr(owner, name))))
        yield


@contextmanager
def without(off: Sequence[Guard], prompts: PromptSet, scratch: Path) -> Iterator[PromptSet]:
    """`prompts` with these guards off, until the end of the `with`; not for two threads at a time.

    Args:
        scratch: an empty or missing folder, for the changed templates.
    """
    shutil.copytree(prompts.folder, scratch, dirs_exist_ok=True)
    for guard in off:
        for path in scratch.glob("*.j2"):
            path.write_text(guard.template(path.read_text()))
    with switched_off(off):
        yield PromptSet(scratch, signals=prompts.signals, words=prompts.words, recents=prompts.recents)


@contextmanager
def answers_as_written() -> Iterator[None]:
    """An engine hands on what the model wrote, whatever it is, to the end of the first paragraph.

    Prompts ask for no more, and the smallest instruct models never end.
    """

    def one_paragraph(*given: Any, **options: Any) -> dict[str, Any]:
        return {**chat.text_request(*given, **options), "stop": [_PARAGRAPH]}

    with (
        patch.object(chat, "clean", lambda text, limit: text[: 4 * limit].strip()),
        patch("model_store.engine.engine.require_plausible", lambda written, **_: written),
        patch("model_store.engine.engine.text_request", one_paragraph),
    ):
        yield


def refusal(written: str, limit: int, *, prompt: str | None, opening: str) -> str:
    """Why a summary, or a description, is refused by the guards that are on; "" if it is taken."""
    cleaned = prompts_package.clean(written, limit)
    return plausible.implausible(cleaned, prompt=prompt, opening=opening) if cleaned else "it has no words"
