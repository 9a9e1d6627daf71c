"""Properties of `clean`: what it lets through, and what it never does."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from model_store.prompts.clean import clean, clean_all

TEXTS = st.text(max_size=200) | st.lists(
    st.sampled_from(
        ["<|", "|>", "im_end", "<|im_end|>", "[INST]", "[/INST]", "<s>", "</s>", "<<SYS>>", " ", "\n", "a"]
    ),
    max_size=30,
).map("".join)
LIMITS = st.integers(min_value=1, max_value=200)


@given(TEXTS, LIMITS)
def test_the_result_is_one_short_line_of_visible_characters(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned
    assert len(cleaned.splitlines()) <= 1
    assert not [c for c in cleaned if unicodedata.category(c)[0] == "C"]


@given(TEXTS, LIMITS)
def test_no_chat_markup_is_left_or_put_together(text: str, limit: int) -> None:
    cleaned = clean(text, limit).upper()
    assert not [mark for mark in ("<|IM_END|>", "[INST]", "[/INST]", "<S>", "</S>", "<<SYS>>") if mark in cleaned]


@given(TEXTS, LIMITS)
def test_cleaning_twice_changes_nothing(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert clean(cleaned, limit) == cleaned


@given(st.text(alphabet=st.characters(categories=["L", "N", "P"], exclude_characters="<>[]|"), max_size=50))
def test_ordinary_text_is_only_composed(text: str) -> None:
    assert clean(text, 1000) == unicodedata.normalize("NFC", text)


@given(st.lists(st.text(max_size=5), max_size=20), st.integers(0, 10))
def test_lists_are_capped_and_hold_no_empty_text(texts: list[str], count: int) -> None:
    cleaned = clean_all(texts, count, 40)
    assert len(cleaned) <= count
    assert all(cleaned)
