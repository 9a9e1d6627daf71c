"""The prompts of a model version: template files in, message texts out.

A prompt set is a folder of Jinja templates:

| file               | sees                    | renders                                              |
| ------------------ | ----------------------- | ---------------------------------------------------- |
| `describe.j2`      | `item`                  | the text next to the picture: picture -> item summary |
| `summarize.j2`     | `summary`, `block`      | old summary and one block -> new summary (MLLM-MSR, stage 2) |
| `rank_user.j2`     | `summary`, the last `recents`, `context` | the prefix that all candidates of a request share |
| `rank_item.j2`     | `item`                  | the suffix: one candidate, after its picture         |
| `score.jinja`      | `messages`              | the chat template that joins prefix, picture, suffix for `/score` |

A model that is scored through chat never sees `score.jinja`: its `rank_item.j2` must end with the
question itself, as `default` does.

All texts from users, items or models are cleaned with `clean` before a template sees them. Those of an item may be
HTML: `html_text` extracts their text before they are cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta

from model_store.prompts.clean import clean, clean_all
from model_store.prompts.html_text import html_text
from model_store.prompts.sandbox import PromptEnvironment
from model_store.signals import BUILT_IN as BUILT_IN_SIGNALS
from model_store.signals import Signals, Words
from model_store.views import InteractionView, ItemView, UserView

BUILT_IN = Path(__file__).parent
TEMPLATES = ("describe.j2", "summarize.j2", "rank_user.j2", "rank_item.j2", "score.jinja")

WORDS = {
    "compact": Words(positive="like", negative="dislike", neutral="view"),
    "plain": Words(positive="liked", negative="disliked", neutral="viewed"),
}
"""The only words for interactions in the prompts of the trained models."""
RECENTS = 6
"""How many of a user's last interactions `rank_user.j2` is given, unless a model version says otherwise."""
CANDIDATES = 4096
"""Candidates whose text is cached: the same ones are ranked for many users."""


@dataclass(frozen=True, slots=True)
class TextLimits:
    """Characters that each untrusted text may take in a prompt."""

    title: int = 200
    description: int = 400
    summary: int = 1200
    item_summary: int = 300
    term: int = 40
    terms: int = 12


class PromptSet:
    """The compiled templates of one folder.

    Args:
        folder: the folder of the five template files.
        signals: what the types of interactions mean.
        words: what the prompts call interactions; None shows what was sent, its value and its meaning.
        recents: how many of a user's last interactions a ranking prompt shows.

    Raises:
        FileNotFoundError: a template is missing; the message names it.
    """

    limits = TextLimits()

    def __init__(
        self,
        folder: Path,
        *,
        signals: Signals = BUILT_IN_SIGNALS,
        words: Words | None = None,
        recents: int = RECENTS,
    ) -> None:
        self.folder = folder
        self.signals = signals
        self.words = words
        self.recents = recents
        missing = [name for name in TEMPLATES if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(f"prompt set {folder} lacks {', '.join(missing)}")
        self._templates = PromptEnvironment(folder)
        self._render = self._templates.render
        self._candidate = lru_cache(CANDIDATES)(self._render_candidate)

    @classmethod
    def built_in(cls, name: str = "default", signals: Signals = BUILT_IN_SIGNALS) -> "PromptSet":
        """`default` instructs a general base model; `compact` is for models trained from scratch, `plain` for small
        pretrained ones that are fine-tuned."""
        return cls(BUILT_IN / name, signals=signals, words=WORDS.get(name))

    @property
    def score_template(self) -> Path:
        """The chat template file for a pooling server's `--chat-template`."""
        return self.folder / "score.jinja"

    def describe(self, item: ItemView) -> str:
        return self._render("describe.j2", item=item_texts(item, self.limits))

    def summarize(self, summary: str, block: Sequence[InteractionView]) -> str:
        return self._render(
            "summarize.j2",
            summary=clean(summary, self.limits.summary),
            block=[self._interaction(interaction) for interaction in block],
        )

    def rank_user(self, user: UserView) -> str:
        return self._render(
            "rank_user.j2",
            summary=clean(user.summary, self.limits.summary),
            recents=[self._interaction(interaction) for interaction in user.recents[-self.recents :]],
            context=self._context(user.context),
        )

    @cached_property
    def reads_context(self) -> bool:
        """Whether the ranker is shown the context of a request."""
        source = (self.folder / "rank_user.j2").read_text()
        return "context" in jinja2.meta.find_undeclared_variables(self._templates.parse(source))

    def rank_item(self, item: ItemView) -> str:
        pictured = item.image or item.picture_tokens
        return self._candidate(replace(item, image=None, picture_tokens=None) if pictured else item)

    def _render_candidate(self, item: ItemView) -> str:
        return self._render("rank_item.j2", item=item_texts(item, self.limits))

    def _interaction(self, interaction: InteractionView) -> dict[str, Any]:
        kind, value = clean(interaction.type, self.limits.term), interaction.value
        said = self.signals.describe(kind, value)
        if self.words is not None:
            said = getattr(self.words, self.signals(kind, value))
        return {
            "type": said,
            "item": None if interaction.item is None else item_texts(interaction.item, self.limits),
        }

    def _context(self, context: Sequence[tuple[str, str]]) -> str:
        limits = self.limits
        pairs = [(clean(name, limits.term), clean(value, limits.term)) for name, value in context[: limits.terms]]
        return ", ".join(f"{name}: {value}" for name, value in pairs if name and value)


def item_texts(item: ItemView, limits: TextLimits) -> dict[str, Any]:
    """What a template sees of an item: its texts, cleaned and cut."""
    return {
        "title": clean(html_text(item.title), limits.title),
        "genres": clean_all(map(html_text, item.genres[: limits.terms]), limits.terms, limits.term),
        "tags": clean_all(map(html_text, item.tags[: limits.terms]), limits.terms, limits.term),
        "description": clean(html_text(item.description), limits.description),
        "summary": clean(item.summary, limits.item_summary),
    }
