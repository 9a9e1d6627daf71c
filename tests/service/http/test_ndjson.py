"""Promises of the line splitter."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from service.errors import LineTooLong
from service.http.ndjson import Line, LineSplitter, ndjson_lines

pieces = st.lists(st.binary(max_size=12).map(lambda piece: piece.replace(b"\r", b"")), max_size=20)


def request_of(chunks: list[bytes]) -> Request:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(left)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


@given(pieces)
async def test_lines_do_not_depend_on_how_the_body_is_chunked(chunks: list[bytes]) -> None:
    whole = b"".join(chunks).removeprefix(b"\xef\xbb\xbf")
    expected = [line for line in whole.split(b"\n") if line.strip()]
    lines: AsyncIterator[Line] = ndjson_lines(request_of(chunks))
    assert [line async for line in lines] == expected


@given(pieces, st.integers(1, 10))
async def test_a_line_that_is_too_long_is_replaced_by_an_error_and_not_kept(chunks: list[bytes], limit: int) -> None:
    splitter = LineSplitter(limit)
    lines: list[Line] = []
    for chunk in chunks:
        lines += splitter.feed(chunk)
        assert len(splitter._open) <= limit
    lines += splitter.end()
    whole = b"".join(chunks)
    if not whole.startswith(b"\xef\xbb\xbf"):
        # Whether a line that is too long was blank is unknown.
        expected = [line for line in whole.split(b"\n") if line.strip() or len(line) > limit]
        assert [isinstance(line, LineTooLong) for line in lines] == [len(line) > limit for line in expected]
        assert [line for line in lines if isinstance(line, bytes)] == [x for x in expected if len(x) <= limit]


def test_an_endless_line_uses_no_memory() -> None:
    splitter = LineSplitter(100)
    for _ in range(1000):
        assert splitter.feed(b"x" * 99) == []
    assert len(splitter._open) == 0
    (error,) = splitter.feed(b"\n")
    assert isinstance(error, LineTooLong)
