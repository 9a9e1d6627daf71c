"""Single values are read in common forms; others are rejected with a reason."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.data.values import identity, number, seconds, terms, text
from service.http.ids import MAX_CHARS

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Action|Drama", ("Action", "Drama")),
        ("Action; Drama ;", ("Action", "Drama")),
        ("Rock, Pop", ("Rock", "Pop")),
        ("Rock, Pop|Jazz", ("Rock, Pop", "Jazz")),
        ('["Rock", "Pop"]', ("Rock", "Pop")),
        ("[live]", ("[live]",)),
        ("Drama", ("Drama",)),
        ("(no genres listed)", ()),
        ("", ()),
        (None, ()),
        (["Rock", None, "", 1984], ("Rock", "1984")),
    ],
)
def test_terms(value: Any, expected: tuple[str, ...]) -> None:
    assert terms(value) == expected


@pytest.mark.parametrize("value", [5, {"a": 1}, [["nested"]], [True]])
def test_what_holds_no_terms_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        terms(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1700000000", 1_700_000_000),
        (1_700_000_000.5, 1_700_000_000.5),
        ("1700000000000", 1_700_000_000),
        (1_700_000_000_000_000, 1_700_000_000),
        (1_700_000_000_000_000_000, 1_700_000_000),
        ("-5", -5),
        ("0", 0),
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14 22:13:20", 1_700_000_000),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000),
    ],
)
def test_times_in_any_unit_and_as_text(value: Any, expected: float) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize("value", ["soon", "", None, True, "nan", "inf", [], {}])
def test_what_is_no_time_is_refused_with_the_remedy(value: Any) -> None:
    with pytest.raises(ValueError, match="Unix seconds or ISO 8601"):
        seconds(value)


@pytest.mark.parametrize("value", ["1e20", 10**400, "9" * 400, -(10**21), "5139-01-01", "9999-12-31"])
def test_a_time_that_could_not_be_read_again_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        seconds(value)


@pytest.mark.parametrize(("value", "expected"), [("4.5", 4.5), ("4,5", 4.5), (4, 4.0)])
def test_numbers(value: Any, expected: float) -> None:
    assert number(value) == expected


def test_texts_lose_half_characters_and_ids_with_them_are_refused() -> None:
    assert text("cut \ud83d") == "cut"
    assert text(None) == ""
    with pytest.raises(ValueError, match="half of a character"):
        identity("cut\ud83d")


@pytest.mark.parametrize("value", [None, "", True, 1.5, [], "a\nb", "a\x00"])
def test_what_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"is missing|must be|holds"):
        identity(value)


def test_an_id_that_the_service_does_not_take_is_refused() -> None:
    assert identity("a" * MAX_CHARS) == "a" * MAX_CHARS
    with pytest.raises(ValueError, match=f"has 257 characters, of which the service takes {MAX_CHARS}"):
        identity("a" * (MAX_CHARS + 1))


@given(ANY_JSON)
def test_any_value_is_read_or_refused_by_a_value_error(value: Any) -> None:
    for read in (terms, text, identity, seconds, number):
        with suppress(ValueError):
            read(value)
