"""Promises of parsing JSON: errors say what to send instead."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BodyTooLarge, MalformedBody
from service.http.parsing import count_values, parse_json

values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=20) | st.sampled_from(['"', "\\", '\\"']),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)


def number_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(number_of, value.values()))
    return 1 + sum(map(number_of, value)) if isinstance(value, list) else 1


@given(values)
async def test_the_count_of_values_is_never_too_low(value: Any) -> None:
    body = orjson.dumps(value)
    number = number_of(value)
    assert number <= await count_values(body, 10_000)
    with pytest.raises(BodyTooLarge):
        await count_values(body, number - 1)


@given(values)
async def test_commas_and_brackets_in_strings_do_not_exceed_the_limit(value: Any) -> None:
    """The exact count is used if the rough one is too high; an empty array counts as two values."""
    assert await count_values(orjson.dumps(value), 2 * number_of(value)) <= 10_000


def test_a_byte_order_mark_is_ignored() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    with pytest.raises(MalformedBody):
        parse_json(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty"),
        (b" \r\n", "the body is empty"),
        ('{"a":"é"}'.encode("latin-1"), "byte 0xe9 at position 6 is not UTF-8; encode the body as UTF-8"),
        ('{"a":"é"}'.encode("utf-16"), "the body is UTF-16; encode it as UTF-8"),
        ('{"a":1}'.encode("utf-16-le"), "UTF-16 or UTF-32; encode it as UTF-8"),
        ('{"a":1}'.encode("utf-32-be"), "UTF-16 or UTF-32; encode it as UTF-8"),
        (b"\x1f\x8b\x08\x00", "the body is gzip; send the header Content-Encoding: gzip"),
        (b'{"value":NaN}', "NaN is not a JSON value at line 1, column 10; send null"),
        (b"[1, -Infinity]", "no digit after sign at line 1, column 6"),
        (b"[1, Infinity]", "Infinity is not a JSON value"),
        (b'{"user_id":undefined}', "undefined is not a JSON value"),
        (b'{"a":None}', "None is not a JSON value"),
        (b'{"a":True}', "True is not a JSON value"),
        (b'{"a":1}\n{"a":2}\n', "more than one value at line 2, column 1; send an array, or one value per line"),
        (b'{"a":"\\ud83d"}', "half of a surrogate pair"),
        (b'\x1e{"a":1}\n', "JSON text sequences (RFC 7464) are not supported"),
        (b'{"a":1,}', "trailing comma is not allowed at line 1, column 7"),
        (b"{'a':1}", "expected a string key at line 1, column 2"),
    ],
)
def test_the_error_explains_what_is_not_json(body: bytes, said: str) -> None:
    with pytest.raises(MalformedBody) as error:
        parse_json(body)
    assert said in error.value.detail
    assert error.value.detail.startswith("not JSON: ")
    assert len(error.value.detail) < 200
