"""Compressed request bodies: `Content-Encoding: gzip` or `deflate` (RFC 9110, 8.4.1)."""

import asyncio
import zlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import MalformedBody, UnsupportedMedia
from service.http.headers import header, with_headers
from service.http.problems import refuse

_PIECE_BYTES = 64 * 1024
"""The most that is decompressed at a time. A small body may decompress to gigabytes, which are never held whole."""

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""zlib's `wbits`. Some clients send deflate without the zlib header."""


class DecompressBodies:
    """Decompresses bodies piece by piece; later limits count the decompressed bytes.

    Raises, in the reader of the body:
        MalformedBody: it is not what `Content-Encoding` says, or is truncated.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        encoding = header(scope, b"content-encoding").strip().lower() if scope["type"] == "http" else ""
        if encoding in ("", "identity"):
            await self.app(scope, receive, send)
        elif encoding not in ("gzip", "x-gzip", "deflate"):
            detail = f"Content-Encoding: {encoding[:40]!r} is not supported; send gzip, deflate, or no encoding"
            await refuse(UnsupportedMedia(detail), scope, receive, send)
        else:
            kept = [one for one in scope["headers"] if one[0] not in (b"content-encoding", b"content-length")]
            body = _Decompressed(receive, encoding)
            await self.app(with_headers(scope, kept), body.receive, send)


class _Decompressed:
    def __init__(self, receive: Receive, encoding: str) -> None:
        self._receive = receive
        self._encoding = encoding
        self._inflate = None if encoding == "deflate" else zlib.decompressobj(_GZIP)
        self._input = b""
        self._more_input = True
        self._more_output = False
        self._done = False

    async def receive(self) -> Message:
        """The next piece; only the last one is empty."""
        while not self._done:
            if self._input or self._more_output:
                # Other requests run between the pieces.
                await asyncio.sleep(0)
                if piece := self._step():
                    return {"type": "http.request", "body": piece, "more_body": True}
            elif not self._more_input:
                return self._end()
            else:
                message = await self._receive()
                if message["type"] != "http.request":
                    return message
                self._input = message.get("body", b"")
                self._more_input = message.get("more_body", False)
        return await self._receive()

    def _step(self) -> bytes:
        if self._inflate is None:
            has_header = self._input[0] & 0x0F == zlib.DEFLATED
            self._inflate = zlib.decompressobj(_ZLIB if has_header else _RAW)
        elif self._inflate.eof and self._encoding != "deflate":
            # A gzip file may have several members (RFC 1952, 2.2).
            self._inflate = zlib.decompressobj(_GZIP)
        try:
            piece = self._inflate.decompress(self._input, _PIECE_BYTES)
        except zlib.error:
            raise self._malformed() from None
        self._input = self._inflate.unconsumed_tail or self._inflate.unused_data
        if self._input and self._inflate.eof and self._encoding == "deflate":
            raise self._malformed()
        self._more_output = len(piece) == _PIECE_BYTES and not self._inflate.eof
        return piece

    def _end(self) -> Message:
        self._done = True
        if self._inflate is not None and not self._inflate.eof:
            raise MalformedBody(f"the {self._encoding} body is truncated")
        return {"type": "http.request", "body": b"", "more_body": False}

    def _malformed(self) -> MalformedBody:
        return MalformedBody(f"the body is not {self._encoding}, as Content-Encoding says")
