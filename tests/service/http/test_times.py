"""Promises of times on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.times import FUTURE_MS, format_time, now_ms, parse_time


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (1.2345, 1234),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01t00:00:01z", 1000),
        ("1970-01-01 01:00:01.25+01:00", 1250),
        ("1990-12-31T23:59:60Z", 662_688_000_000),
        ("1970-01-01T01:00:01+0100", 1000),
        ("1970-01-01 00:00:01 UTC", 1000),
        ("1970-01-01 00:00:01.5 +0000", 1500),
        ("1970-01-01T00:00:01 GMT", 1000),
        ("1970-01-01T00:00:01.123456789Z", 1123),
    ],
)
def test_both_forms_are_parsed(value: object, expected: int) -> None:
    assert parse_time(value, now_ms()) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1970-01-01",
        "1970-01-01T00:00:01",
        "1970-01-01 00:00:01 CET",
        "1970-01-01T00:00:01+01",
        "1970-01-01T00:00:01+0160",
        "1970-01-01T00:00:01  Z",
        "1",
        "19700101T000001Z",
        "1970-13-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+99:00",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+01:60",
        "١970-01-01T00:00:00Z",
        -0.01,
        float("nan"),
        float("inf"),
        True,
        None,
        [],
    ],
)
def test_nonsense_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_time(value, now_ms())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1732600000", "Unix seconds are a number, without quotes"),
        ("2025-11-20T08:30:00", "with a time zone, such as 2025-11-20T08:30:00Z"),
        (1_732_600_000_000, "numbers are Unix seconds, not milliseconds"),
        ({"$date": 1}, "must be RFC 3339 text or Unix seconds"),
    ],
)
def test_common_mistakes_are_refused_with_a_remedy(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_time(value, now_ms())


def test_a_time_may_be_a_day_ahead_and_not_more() -> None:
    soon = (now_ms() + FUTURE_MS) / 1000
    assert parse_time(soon - 60, now_ms()) > now_ms()
    with pytest.raises(ValueError, match="future"):
        parse_time(soon + 60, now_ms())


@given(st.integers(0, 1_790_000_000_000))
def test_a_formatted_time_can_be_parsed(milliseconds: int) -> None:
    assert parse_time(format_time(milliseconds), now_ms()) == milliseconds
