"""Promises of the joining transport: a response is one write, and no byte is lost or reordered."""

import asyncio
from typing import Any

import pytest

from service.http import connection
from service.http.joined_writes import JoinedWrites
from tests.service.http.raw import GET, WITHIN_S, OpenServer, Server

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"{}"


class Transport(asyncio.Transport):
    """Records the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append(bytes(data))

    def write_eof(self) -> None:
        self.calls.append("eof")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return False


def test_a_held_write_is_joined_with_the_next_and_others_are_immediate() -> None:
    transport = Transport()
    writes = JoinedWrites(transport)
    writes.write(b"before")
    writes.hold_next()
    writes.write(HEAD)
    assert transport.calls == [b"before"]
    writes.write(BODY)
    writes.write(BODY)
    assert transport.calls == [b"before", HEAD + BODY, BODY]


@pytest.mark.parametrize(("end", "calls"), [("flush", []), ("close", ["close"]), ("write_eof", ["eof"])])
def test_a_held_write_is_written_before_the_end(end: str, calls: list[str]) -> None:
    transport = Transport()
    writes = JoinedWrites(transport)
    writes.hold_next()
    writes.write(HEAD)
    getattr(writes, end)()
    assert transport.calls == [HEAD, *calls]


async def test_a_whole_response_is_one_write(open_server: OpenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []

    class Counted:
        def __init__(self, transport: asyncio.Transport) -> None:
            self.transport = transport

        def write(self, data: bytes) -> None:
            writes.append(data)
            self.transport.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.transport, name)

    monkeypatch.setattr(connection, "JoinedWrites", lambda transport: JoinedWrites(Counted(transport)))  # type: ignore[arg-type]
    async with open_server() as server, server.connect() as caller:
        for _ in range(3):
            caller.send(GET)
            assert await caller.answer() == (200, {"status": "ok"})
    assert len(writes) == 3


async def test_a_response_without_a_body_is_written(server: Server) -> None:
    async with server.connect() as caller, asyncio.timeout(WITHIN_S):
        caller.send(GET.replace(b"GET", b"HEAD"))
        assert (await caller.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 ")
        caller.send(GET)
        assert await caller.answer() == (200, {"status": "ok"})
