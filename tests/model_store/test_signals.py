"""What interactions mean: the table of types, values, and which vocabulary wins."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest
from model_store.signals import (
    BUILT_IN,
    BUILT_IN_VOCABULARY,
    Signal,
    Signals,
    ValueRule,
    VersionSignals,
    Vocabulary,
    Words,
)
from model_store.views import InteractionView, ItemView, UserView

POSITIVE = """like love favorite favourite star save bookmark share follow subscribe purchase buy order add_to_cart cart
    add_to_wishlist play watch click complete thumbs_up select_item product_added order_completed checkout_started"""
NEGATIVE = """dislike thumbs_down unlike skip hide refund return remove_from_cart report block unsubscribe dismiss
    product_removed order_refunded not_interested"""
NEUTRAL = "view view_item product_viewed page_view impression view_item_list search rating review never-heard-of-it"


@pytest.mark.parametrize(
    ("types", "signal"), [(POSITIVE, "positive"), (NEGATIVE, "negative"), (NEUTRAL, "neutral")], ids=lambda one: one[:8]
)
def test_types_mean_what_the_table_says(types: str, signal: Signal) -> None:
    assert {one: BUILT_IN(one) for one in types.split()} == dict.fromkeys(types.split(), signal)


@pytest.mark.parametrize("spelling", ["add_to_cart", "add-to-cart", "add.to.cart", "Add to Cart", " ADD_TO_CART "])
def test_a_type_is_known_in_every_usual_spelling(spelling: str) -> None:
    assert BUILT_IN(spelling) == "positive"
    assert BUILT_IN.knows(spelling)


@pytest.mark.parametrize(
    ("kind", "value", "signal"),
    [
        ("rating", 5, "positive"),
        ("rating", 4, "positive"),
        ("rating", 3.9, "neutral"),
        ("rating", 2.1, "neutral"),
        ("rating", 2, "negative"),
        ("rating", 1, "negative"),
        ("review", 1, "negative"),
        ("vote", -1, "negative"),
        ("vote", 1, "positive"),
        ("purchase", 0.5, "positive"),
        ("dislike", 5, "negative"),
    ],
)
def test_the_value_decides_where_the_type_is_a_rating_and_nowhere_else(kind: str, value: float, signal: Signal) -> None:
    assert BUILT_IN(kind, value) == signal


def test_unknown_types_are_neutral_and_not_known() -> None:
    assert BUILT_IN("wink") == "neutral"
    assert not BUILT_IN.knows("wink")


def test_only_exposures_are_exposures() -> None:
    assert [
        kind for kind in ("impression", "view_item_list", "view", "like", "wink") if BUILT_IN.is_exposure(kind)
    ] == [
        "impression",
        "view_item_list",
    ]


def test_a_later_vocabulary_wins_for_the_types_that_it_names() -> None:
    version = Vocabulary(
        positive=("wink", "view"), values={"play": ValueRule(positive_from=0.5, negative_to=0.1, of=1)}
    )
    settings = Vocabulary(negative=("view",), positive=("play",))
    assert [Signals(version)(kind, 0.2) for kind in ("wink", "view", "play", "like")] == [
        "positive",
        "positive",
        "neutral",
        "positive",
    ]
    assert [Signals(version, settings)(kind, 0.2) for kind in ("wink", "view", "play", "like")] == [
        "positive",
        "negative",
        "positive",
        "positive",
    ]


def test_the_whole_table_restores_the_same_signals() -> None:
    signals = Signals(Vocabulary(negative=("click", "wink"), exposures=("view",)))
    assert Signals(signals.vocabulary()).digest == signals.digest != BUILT_IN.digest


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"positive": ("wink",), "negative": ("wink",)}, "wink: named more than once"),
        ({"positive": ("add-to-cart", "add_to_cart")}, "add_to_cart: named more than once"),
        ({"values": {"rating": {"positive_from": 2, "negative_to": 4}}}, "negative_to must be less than positive_from"),
    ],
)
def test_a_vocabulary_that_contradicts_itself_is_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Vocabulary.model_validate(fields)


ITEM = ItemView("Red Harbour")


def line(prompts: PromptSet, kind: str, value: float | None = None) -> str:
    """The one line of the ranker's prompt that shows the interaction."""
    text = prompts.rank_user(UserView("", (InteractionView(kind, ITEM, value),)))
    (found,) = [one for one in text.splitlines() if "Red Harbour" in one]
    return found


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("rating", 1, "rating 1 of 5 (disliked): Red Harbour"),
        ("rating", 3, "rating 3 of 5: Red Harbour"),
        ("rating", 4.5, "rating 4.5 of 5 (liked): Red Harbour"),
        ("rating", None, "rating: Red Harbour"),
        ("refund", None, "refund (disliked): Red Harbour"),
        ("purchase", 19.99, "purchase: Red Harbour"),
        ("dislike", None, "dislike: Red Harbour"),
        ("view", None, "view: Red Harbour"),
    ],
)
def test_general_models_read_the_value_and_what_it_means(kind: str, value: float | None, shown: str) -> None:
    assert line(PromptSet.built_in("default"), kind, value) == shown


def test_general_models_read_what_the_settings_say_of_a_type() -> None:
    prompts = PromptSet.built_in("default", Signals(Vocabulary(positive=("wink",), negative=("view",))))
    assert line(prompts, "wink") == "wink (liked): Red Harbour"
    assert line(prompts, "view") == "view (disliked): Red Harbour"


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("add-to-cart", None, "like"),
        ("rating", 5, "like"),
        ("rating", 1, "dislike"),
        ("thumbs_down", None, "dislike"),
        ("rating", 3, "view"),
        ("never_heard_of_it", None, "view"),
    ],
)
def test_small_models_read_only_words_that_they_were_trained_on(kind: str, value: float | None, shown: str) -> None:
    assert line(PromptSet.built_in("compact"), kind, value) == f"{shown}: Red Harbour"


def test_a_version_records_its_vocabulary_and_words() -> None:
    words = Words(positive="like", negative="dislike", neutral="view")
    signals = VersionSignals(**dict(BUILT_IN.vocabulary()), words=words)
    written = Manifest(name="mine", version=1, role="ranker", signals=signals)
    assert Manifest.parse(written.dump(), "here") == written


PAGE = Path(__file__).parents[2] / "docs" / "signals.md"


def test_the_page_names_every_type_with_its_meaning() -> None:
    rows = re.findall(r"^\| (positive|negative|neutral|exposures|values) \| (.*) \|$", PAGE.read_text("utf-8"), re.M)
    named = {meaning: set(re.findall(r"`([a-z_]+)`", types)) for meaning, types in rows}
    assert named == {meaning: set(types) for meaning, types in BUILT_IN_VOCABULARY}


@given(st.text(max_size=40), st.none() | st.floats(allow_nan=True))
def test_every_type_and_value_has_a_signal(kind: str, value: float | None) -> None:
    assert BUILT_IN(kind, value) in ("positive", "negative", "neutral")
    assert BUILT_IN.describe(kind, value).startswith(kind)
