"""Newline-delimited JSON: a stream of bytes, split into lines as they arrive."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import Request

from service.errors import LineTooLong, MalformedBody
from service.http.parsing import BOM, parse_json

Line = bytes | LineTooLong
_PIECE_BYTES = 64 * 1024
"""The most bytes that are split into lines before other requests run."""


class LineSplitter:
    """Splits chunks into lines, without blank lines and without a byte order mark at the start.

    A line of more than `limit` bytes is replaced by an error and not kept in memory.
    """

    def __init__(self, limit: float = math.inf) -> None:
        self._limit = limit
        self._open = bytearray()
        self._too_long = False
        self._first = True

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that end in `chunk`."""
        head, *rest = chunk.split(b"\n")
        self._extend(head)
        if not rest:
            return []
        *whole, tail = rest
        lines = [*self.end(), *(line for line in map(self._bounded, whole) if line is not None)]
        self._extend(tail)
        return lines

    def end(self) -> list[Line]:
        """End the open line, and return it unless it is blank."""
        line, too_long = bytes(self._open), self._too_long
        self._open.clear()
        self._too_long = False
        if self._first:
            line = line.removeprefix(BOM)
            self._first = False
        ended = self._error() if too_long else self._bounded(line)
        return [] if ended is None else [ended]

    def _extend(self, piece: bytes) -> None:
        if len(self._open) + len(piece) > self._limit:
            self._open.clear()
            self._too_long = True
        elif not self._too_long:
            self._open += piece

    def _bounded(self, line: bytes) -> Line | None:
        if len(line) > self._limit:
            return self._error()
        return line if line.strip() else None

    def _error(self) -> LineTooLong:
        return LineTooLong(f"longer than {self._limit} bytes")


def pieces(chunk: bytes) -> Iterator[bytes]:
    """The chunk in pieces, each of which is split into lines quickly."""
    for start in range(0, len(chunk), _PIECE_BYTES):
        yield chunk[start : start + _PIECE_BYTES]


async def ndjson_lines(request: Request) -> AsyncIterator[Line]:
    """The non-blank lines of the body as they arrive; no more than one unfinished line is kept in memory."""
    splitter = LineSplitter()
    async for chunk in request.stream():
        for piece in pieces(chunk):
            for line in splitter.feed(piece):
                yield line
            await asyncio.sleep(0)
    for line in splitter.end():
        yield line


def parse_line(line: Line) -> Any:
    """The line's JSON value, or the error that replaces it."""
    if isinstance(line, LineTooLong):
        return line
    try:
        return parse_json(line)
    except MalformedBody as error:
        return error
