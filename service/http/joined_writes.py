"""A transport that joins the head of a response with its body."""

import asyncio
from typing import Any


class JoinedWrites:
    """Wraps `transport`, and can hold a write back to join it with the next one.

    uvicorn writes a response in two parts, and uvloop makes a system call for each. For a small response, one call
    takes longer than the rest of the request, and its reader wakes twice.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""
        self._holds_next = False
        self.is_closing = transport.is_closing

    def hold_next(self) -> None:
        """Hold the next write back until another write, `flush`, or the end of the connection."""
        self._holds_next = True

    def write(self, data: bytes) -> None:
        data, self._held = self._held + data, b""
        if self._holds_next:
            self._held, self._holds_next = data, False
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Write what is held back."""
        self._holds_next = False
        if self._held:
            self.write(b"")

    def write_eof(self) -> None:
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
