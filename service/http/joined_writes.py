"""A transport that joins the head of an answer with its body."""

import asyncio
from typing import Any


class JoinedWrites:
    """Passes everything on to `transport`, and writes what is kept back together with what comes next.

    uvicorn writes an answer in two parts, and uvloop asks the kernel for each. For a small answer one call takes more
    than the rest of the request, and its reader is woken twice.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._kept = b""
        self._keeps = False
        self.is_closing = transport.is_closing

    def keep_next(self) -> None:
        """Keep the next write back until there is another one, `flush`, or the end of the connection."""
        self._keeps = True

    def write(self, data: bytes) -> None:
        if self._keeps:
            self._keeps = False
            self._kept += data
        elif self._kept:
            data, self._kept = self._kept + data, b""
            self._transport.write(data)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Write what is kept back."""
        self._keeps = False
        if self._kept:
            self.write(b"")

    def write_eof(self) -> None:
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
