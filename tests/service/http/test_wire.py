"""Promises of reading bodies."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from service.http.wire import ndjson_lines

pieces = st.lists(st.binary(max_size=12).map(lambda piece: piece.replace(b"\r", b"")), max_size=20)


def request_of(chunks: list[bytes]) -> Request:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(left)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


@given(pieces)
async def test_lines_are_the_same_however_the_body_is_cut(chunks: list[bytes]) -> None:
    expected = [line for line in b"".join(chunks).split(b"\n") if line.strip()]
    lines: AsyncIterator[bytes] = ndjson_lines(request_of(chunks))
    assert [line async for line in lines] == expected
