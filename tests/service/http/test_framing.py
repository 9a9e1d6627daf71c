"""Promises about bytes around and after a body: they can not authorize a request, and they cost little."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.app import server_config
from service.http import connection
from service.settings import Settings
from tests.service.http.raw import EVENT, GET, WITHIN_S, Caller, OpenServer, Server
from tests.service.serving import running

CHUNKED = b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
KEY = b"Authorization: Bearer a-key\r\n"
MANY = 30 * 1024 * 1024


@pytest.fixture
async def locked(redis_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """A server that requires a key."""
    keys = tmp_path / "keys"
    keys.write_text("a-key\n")
    settings = Settings(redis_url=redis_url, data_dir=tmp_path, port=0, api_keys_file=keys)
    async with running(server_config(settings)) as url:
        yield Server(url)


async def flood(caller: Caller, piece: bytes, most: int) -> int:
    """Send `piece` repeatedly, and return how many bytes were sent before the server closed."""
    sent = 0
    with suppress(ConnectionError):
        while sent < most and not caller.writer.transport.is_closing():
            caller.send(piece)
            async with asyncio.timeout(WITHIN_S):
                await caller.writer.drain()
            sent += len(piece)
    return sent


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def test_a_key_in_a_trailer_does_not_authorize(locked: Server) -> None:
    async with locked.connect() as caller:
        caller.send(CHUNKED[:-2] + b"Expect: 100-continue\r\n\r\n" + WHOLE + b"0\r\n" + KEY + b"\r\n")
        assert (await caller.answer())[0] == 401


async def test_a_trailer_is_not_a_header_of_its_request_or_the_next(locked: Server) -> None:
    async with locked.connect() as caller:
        caller.send(CHUNKED[:-2] + KEY + b"\r\n" + WHOLE + b"0\r\n" + KEY + b"\r\n")
        assert (await caller.answer())[0] == 202
        caller.send(b"GET /users/u HTTP/1.1\r\nHost: t\r\n\r\n")
        assert (await caller.answer())[0] == 401


async def test_trailers_are_ignored(server: Server) -> None:
    async with server.connect() as caller:
        for _ in range(2):
            caller.send(CHUNKED + WHOLE + b"0\r\nHost: other\r\nServer-Timing: a;dur=1\r\n\r\n")
            assert (await caller.answer())[0] == 202


@pytest.mark.parametrize("endless", [b"a:b\r\n" * 1000, b"x" * 5000], ids=["many", "one"])
async def test_endless_trailers_are_a_431(open_server: OpenServer, endless: bytes) -> None:
    async with open_server(header_bytes=10_000) as server, server.connect() as caller:
        caller.send(CHUNKED + WHOLE + b"0\r\n" + (b"" if endless.startswith(b"a:") else b"a:"))
        await flood(caller, endless, 1_000_000)
        status, problem = await caller.answer()
        assert (status, problem["code"]) == (431, "headers_too_large")
        assert "trailers" in problem["detail"]


async def test_endless_chunk_extensions_are_a_431(open_server: OpenServer) -> None:
    async with open_server(header_bytes=10_000) as server, server.connect() as caller:
        caller.send(CHUNKED)
        await flood(caller, b"1;%b\r\n \r\n" % (b"e" * 2_000), 1_000_000)
        assert (await caller.answer())[1]["code"] == "headers_too_large"


async def test_small_chunks_do_not_count_as_extensions(open_server: OpenServer) -> None:
    async with open_server(header_bytes=1_000) as server, server.connect() as caller:
        caller.send(CHUNKED)
        await flood(caller, b"1\r\n \r\n" * 100, 60_000)
        caller.send(WHOLE + b"0\r\n\r\n")
        assert (await caller.answer())[0] == 202


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /events HTTP/1.1\r\nHost: t\r\n", 401),
        (b"POST /nowhere HTTP/1.1\r\nHost: t\r\n", 401),
        (b"GET /healthz HTTP/1.1\r\nHost: t\r\n", 200),
        (b"BREW /healthz HTTP/1.1\r\nHost: t\r\n", 400),
        (b"POST /events HTTP/1.1\r\nHost: t\r\n" + KEY, 415),
        (b"POST /nowhere HTTP/1.1\r\nHost: t\r\n" + KEY, 404),
        (b"PATCH /events HTTP/1.1\r\nHost: t\r\n" + KEY, 405),
    ],
)
@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"Content-Length: 999999999\r\n\r\n"])
async def test_a_caller_that_sends_on_after_the_response_is_disconnected_and_uses_no_memory(
    locked: Server, monkeypatch: pytest.MonkeyPatch, head: bytes, status: int, framing: bytes
) -> None:
    monkeypatch.setattr(connection, "_LINGER_S", WITHIN_S)
    before = peak_bytes()
    async with locked.connect() as caller:
        caller.send(head + framing)
        assert (await caller.answer())[0] == status
        # The socket buffers of both sides take some more.
        assert await flood(caller, b"a:b\r\n" * 10_000, 10 * connection._LINGER_BYTES) < 2 * connection._LINGER_BYTES
    assert peak_bytes() - before < MANY


async def test_an_early_response_closes_the_connection_and_reaches_callers_that_send_everything_first(
    locked: Server,
) -> None:
    async with locked.connect() as caller:
        caller.send(b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Length: 3000000\r\n\r\n")
        assert await flood(caller, b" " * 100_000, 3_000_000) == 3_000_000
        async with asyncio.timeout(WITHIN_S):
            head = await caller.reader.readuntil(b"\r\n\r\n")
        assert b" 401 " in head
        assert b"connection: close" in head


async def test_bytes_after_an_early_response_are_not_a_request(server: Server) -> None:
    async with server.connect() as caller:
        caller.send(b"POST /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n")
        assert (await caller.answer())[0] == 404
        caller.send(b" " * 10 + b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n")
        caller.send(b"Content-Length: %d\r\n\r\n%b" % (len(EVENT), EVENT))
        assert await caller.ended() == b""
    assert await server.count('tastestream_events_total{result="accepted",tenant="default"}') == 0


async def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    async with server.connect() as caller:
        there, not_there = GET, GET.replace(b"/healthz", b"/nowhere")
        caller.send((there + not_there) * 1_000)
        statuses = [(await caller.answer())[0] for _ in range(2_000)]
        assert statuses == [200, 404] * 1_000


async def test_few_pipelined_requests_are_parsed_before_their_turn(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[int] = []
    complete = connection._BoundedHttp.on_message_complete

    def counted(self: connection._BoundedHttp) -> None:
        complete(self)
        waiting.append(len(self.pipeline))

    monkeypatch.setattr(connection._BoundedHttp, "on_message_complete", counted)
    async with server.connect() as caller:
        caller.send(GET * 5_000)
        for _ in range(5_000):
            await caller.answer()
    assert max(waiting) <= connection._PIECE_BYTES / len(GET) + 1


async def test_the_body_of_a_pipelined_request_arrives_complete(server: Server) -> None:
    body = EVENT + b" " * 200_000
    post = b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    async with server.connect() as caller:
        caller.send((post + body) * 5 + GET)
        answers = [(await caller.answer())[0] for _ in range(6)]
        assert answers == [202] * 5 + [200]
