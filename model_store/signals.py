"""What an interaction means: `Signals()(type, value)` is "positive", "negative" or "neutral".

Prompts, folding, co-occurrence, retrieval, training and evaluation all use this. A vocabulary defines what types mean;
later vocabularies override earlier ones: the built-in vocabulary, then the one of the model version (`[signals]` in its
manifest), then the settings (`TASTESTREAM_SIGNALS__*`).

A type that no vocabulary names is neutral. Types are compared in lower case, with `_` for spaces, dots and hyphens:
`add-to-cart` and `Add to Cart` are `add_to_cart`.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Signal = Literal["positive", "negative", "neutral"]
Meaning = Literal["positive", "negative", "neutral", "exposures"]
Types = tuple[str, ...]
_JOINTS = re.compile(r"[\s.-]+")


def normal(event_type: str) -> str:
    """The form in which types are compared."""
    return _JOINTS.sub("_", event_type.strip().lower())


def _types(words: str) -> Types:
    return tuple(words.split())


class StrictModel(BaseModel):
    """Immutable, and without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ValueRule(StrictModel):
    """What an event's value, such as a rating, means: positive from `positive_from` up, negative up to `negative_to`.

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


class Words(StrictModel):
    """The words for interactions in a model's prompts, by signal, if it was trained on no others."""

    positive: str
    negative: str
    neutral: str


class Vocabulary(StrictModel):
    """Event types by meaning. A type may be named only once.

    `exposures` are neutral and not actions of the user, who was only shown the item: they are logged, but are neither
    recents nor seen, and change no summary. `values` has the types whose value decides.
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
    """The `[signals]` of a model version: the vocabulary of its training, and the words of its prompts.

    Without `words`, prompts show the types as they were sent.
    """

    words: Words | None = None


_FIVE_STARS = ValueRule(positive_from=4, negative_to=2, of=5)
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
        **dict.fromkeys(("rating", "rate", "review", "stars"), _FIVE_STARS),
        "vote": ValueRule(positive_from=1, negative_to=-1),
    },
)
"""Types that take back something positive, such as `unlike`, are negative."""

PLAIN = frozenset({"dislike", "hate", "skip", "hide", "not_interested"})
"""Negative types that prompts show without an explanation."""
_MARKS: dict[Signal, str] = {"positive": " (liked)", "negative": " (disliked)", "neutral": ""}


class Signals:
    """The built-in vocabulary and others in one table, in which later ones override earlier ones."""

    def __init__(self, *vocabularies: Vocabulary) -> None:
        self._table: dict[str, Meaning | ValueRule] = {}
        for vocabulary in (BUILT_IN_VOCABULARY, *vocabularies):
            for meaning in get_args(Meaning):
                self._table |= dict.fromkeys(map(normal, getattr(vocabulary, meaning)), meaning)
            self._table |= {normal(one): rule for one, rule in vocabulary.values.items()}

    def __call__(self, event_type: str, value: float | None = None) -> Signal:
        """What an event of this type and value says about its item."""
        meaning = self._meaning(event_type)
        if isinstance(meaning, ValueRule):
            return meaning(value)
        return "neutral" if meaning is None or meaning == "exposures" else meaning

    def knows(self, event_type: str) -> bool:
        """Whether a vocabulary names the type."""
        return self._meaning(event_type) is not None

    def reads_value(self, event_type: str) -> bool:
        """Whether the value of an event of this type decides what it means."""
        return isinstance(self._meaning(event_type), ValueRule)

    def is_exposure(self, event_type: str) -> bool:
        """Whether the item was only shown to the user."""
        return self._meaning(event_type) == "exposures"

    def describe(self, event_type: str, value: float | None = None) -> str:
        """The interaction in words: the type, a value that decides, and the meaning if the type is ambiguous."""
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
        types = sorted(self._table.items())
        named = {meaning: tuple(one for one, own in types if own == meaning) for meaning in get_args(Meaning)}
        return Vocabulary(**named, values={one: rule for one, rule in types if isinstance(rule, ValueRule)})

    @cached_property
    def digest(self) -> str:
        """Changes with the table."""
        return hashlib.sha256(self.vocabulary().model_dump_json().encode()).hexdigest()[:12]

    def exposures(self, event_types: Iterable[str]) -> Collection[str]:
        """The exposures among the types."""
        return [one for one in event_types if self.is_exposure(one)]

    def _meaning(self, event_type: str) -> Meaning | ValueRule | None:
        meaning = self._table.get(event_type)
        return self._table.get(normal(event_type)) if meaning is None else meaning


BUILT_IN = Signals()
