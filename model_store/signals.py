"""What an interaction means: `Signals()(type, value)` is "positive", "negative" or "neutral".

Prompts, folding, co-occurrence, retrieval, training and evaluation all ask here. A vocabulary says
what types mean; of several, a later one wins for the types that it names: the built-in vocabulary,
then the one of the model version (`[signals]` in its manifest), then the settings (`TASTESTREAM_SIGNALS__*`).

A type that no vocabulary names is neutral. Types are compared in lower case, with `_` for spaces,
dots and hyphens, so that `add-to-cart` and `Add to Cart` are `add_to_cart`.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Signal = Literal["positive", "negative", "neutral"]
Types = tuple[str, ...]
_JOINTS = re.compile(r"[\s.-]+")


def normal(event_type: str) -> str:
    """The form in which types are compared."""
    return _JOINTS.sub("_", event_type.strip().lower())


def _types(words: str) -> Types:
    return tuple(words.split())


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ValueRule(_Part):
    """Reads an event's value, such as a rating: positive from `positive_from` up, negative from `negative_to` down.

    Between the two, and without a value, the event is neutral. `of` is the end of the scale, as prompts show it.
    """

    positive_from: FiniteFloat
    negative_to: FiniteFloat
    of: FiniteFloat | None = None

    @model_validator(mode="after")
    def _must_be_apart(self) -> Self:
        if self.negative_to >= self.positive_from:
            raise ValueError("negative_to must be less than positive_from")
        return self

    def __call__(self, value: float | None) -> Signal:
        if value is None:
            return "neutral"
        return "positive" if value >= self.positive_from else "negative" if value <= self.negative_to else "neutral"


class Words(_Part):
    """The only words that a model's prompts have for interactions: those that it was trained on, by signal."""

    positive: str
    negative: str
    neutral: str


class Vocabulary(_Part):
    """Event types by what they mean. A type may be named once.

    `exposures` are neutral and no deeds of the user, who was only shown the item: they are logged, but are neither
    among the recents nor seen, and change no summary. `values` has the types whose value decides.
    """

    positive: Types = ()
    negative: Types = ()
    neutral: Types = ()
    exposures: Types = ()
    values: dict[str, ValueRule] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _must_name_a_type_once(self) -> Self:
        named = [normal(one) for one in (*self.positive, *self.negative, *self.neutral, *self.exposures, *self.values)]
        twice = sorted({one for one in named if named.count(one) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)}: named more than once")
        return self


class VersionSignals(Vocabulary):
    """The `[signals]` of a model version: the vocabulary that it was trained with, and the words of its prompts.

    Without `words`, prompts show the types as they were sent.
    """

    words: Words | None = None


BUILT_IN_VOCABULARY = Vocabulary(
    positive=_types(
        """
        like love heart upvote thumbs_up swipe_right favorite favourite star save bookmark collect pin wishlist
        add_to_wishlist add_to_favorites product_added_to_wishlist follow subscribe share product_shared repost
        purchase buy order checkout begin_checkout checkout_started order_completed rent book reserve
        cart basket add_to_cart add_to_basket add_to_bag product_added install download
        click tap product_clicked select_item play watch listen stream read finish complete completed replay
        """
    ),
    negative=_types(
        """
        dislike hate downvote thumbs_down swipe_left skip hide dismiss not_interested block mute report flag
        unlike unfavorite unfavourite unstar unsave unbookmark unpin unfollow unsubscribe
        remove_from_cart remove_from_basket product_removed remove_from_wishlist remove_from_favorites
        product_removed_from_wishlist return refund cancel order_refunded order_cancelled uninstall
        """
    ),
    neutral=_types(
        """
        view view_item product_viewed product_view detail_view page_view pageview open preview hover zoom scroll
        search comment pause resume stop undislike unhide unblock unmute
        """
    ),
    exposures=_types(
        """
        impression impressions exposure expose exposed display displayed shown
        view_item_list product_list_viewed view_promotion promotion_viewed
        """
    ),
    values={
        "rating": ValueRule(positive_from=4, negative_to=2, of=5),
        "rate": ValueRule(positive_from=4, negative_to=2, of=5),
        "review": ValueRule(positive_from=4, negative_to=2, of=5),
        "stars": ValueRule(positive_from=4, negative_to=2, of=5),
        "vote": ValueRule(positive_from=1, negative_to=-1),
    },
)
"""Ratings are of 1 to 5. What takes something positive back, such as `unlike`, speaks against the item."""

PLAIN = frozenset({"dislike", "hate", "skip", "hide", "not_interested"})
"""Negative types that need no explanation in a prompt."""
_MARKS: dict[Signal, str] = {"positive": " (liked)", "negative": " (disliked)", "neutral": ""}


class Signals:
    """The vocabularies as one table, a later one over an earlier one, all over the built-in one."""

    def __init__(self, *vocabularies: Vocabulary) -> None:
        self._table: dict[str, Signal | Literal["exposure"] | ValueRule] = {}
        for vocabulary in (BUILT_IN_VOCABULARY, *vocabularies):
            self._table |= {normal(one): "positive" for one in vocabulary.positive}
            self._table |= {normal(one): "negative" for one in vocabulary.negative}
            self._table |= {normal(one): "neutral" for one in vocabulary.neutral}
            self._table |= {normal(one): "exposure" for one in vocabulary.exposures}
            self._table |= {normal(one): rule for one, rule in vocabulary.values.items()}

    def __call__(self, event_type: str, value: float | None = None) -> Signal:
        """What an event of this type, with this value, says about its item."""
        meaning = self._meaning(event_type)
        if isinstance(meaning, ValueRule):
            return meaning(value)
        return "neutral" if meaning is None or meaning == "exposure" else meaning

    def knows(self, event_type: str) -> bool:
        """Whether a vocabulary names the type."""
        return self._meaning(event_type) is not None

    def reads_value(self, event_type: str) -> bool:
        """Whether the value of such an event decides."""
        return isinstance(self._meaning(event_type), ValueRule)

    def is_exposure(self, event_type: str) -> bool:
        """Whether the item was only shown to the user."""
        return self._meaning(event_type) == "exposure"

    def describe(self, event_type: str, value: float | None = None) -> str:
        """The interaction in words: the type, a value that decides, and what it means where the type does not say."""
        meaning, signal = self._meaning(event_type), self(event_type, value)
        if isinstance(meaning, ValueRule):
            if value is None:
                return event_type
            scale = "" if meaning.of is None else f" of {meaning.of:g}"
            return f"{event_type} {value:g}{scale}{_MARKS[signal]}"
        plain = event_type in PLAIN if signal == "negative" else BUILT_IN._meaning(event_type) == signal
        return event_type if plain else event_type + _MARKS[signal]

    def vocabulary(self) -> Vocabulary:
        """The whole table, as a model version records it."""

        def named(meaning: str) -> Types:
            return tuple(sorted(one for one, own in self._table.items() if own == meaning))

        values = {one: rule for one, rule in sorted(self._table.items()) if isinstance(rule, ValueRule)}
        return Vocabulary(
            positive=named("positive"),
            negative=named("negative"),
            neutral=named("neutral"),
            exposures=named("exposure"),
            values=values,
        )

    @cached_property
    def digest(self) -> str:
        """Changes with the table."""
        return hashlib.sha256(self.vocabulary().model_dump_json().encode()).hexdigest()[:12]

    def exposures(self, event_types: Iterable[str]) -> Collection[str]:
        """Those of the types that are exposures."""
        return [one for one in event_types if self.is_exposure(one)]

    def _meaning(self, event_type: str) -> Signal | Literal["exposure"] | ValueRule | None:
        meaning = self._table.get(event_type)
        return self._table.get(normal(event_type)) if meaning is None else meaning


BUILT_IN = Signals()
