"""Promises about requests that ask for another protocol: they are answered as if they did not, including the body."""

import asyncio

import pytest

from tests.service.http.raw import EVENT, GET, WITHIN_S, Server

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
WEBSOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
POST = b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(EVENT) + EVENT
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (EVENT[:5], len(EVENT) - 5, EVENT[5:])
BOTH = pytest.mark.parametrize("upgrade", [H2C, WEBSOCKET, b"Connection: upgrade\r\nUpgrade: any/1\r\n"])


@BOTH
async def test_it_is_answered_and_the_connection_stays_open(server: Server, upgrade: bytes) -> None:
    async with server.connect() as caller:
        for _ in range(2):
            caller.send(GET[:-2] + upgrade + b"\r\n")
            assert await caller.answer() == (200, {"status": "ok"})


@BOTH
@pytest.mark.parametrize("body", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("piece", [1, 7, 10_000])
async def test_its_body_is_read_in_pieces_of_any_size(server: Server, upgrade: bytes, body: bytes, piece: int) -> None:
    sent = POST + upgrade + body + GET
    async with server.connect() as caller:
        for start in range(0, len(sent), piece):
            caller.send(sent[start : start + piece])
            await caller.writer.drain()
        status, answer = await caller.answer()
        assert (status, answer["accepted"] + answer["duplicates"]) == (202, 1)
        assert await caller.answer() == (200, {"status": "ok"})


@BOTH
@pytest.mark.parametrize("late", [False, True])
async def test_a_request_in_its_body_is_not_executed(server: Server, upgrade: bytes, late: bool) -> None:
    async with server.connect() as caller:
        caller.send(POST + LENGTH)
        assert (await caller.answer())[0] == 202
        hidden = b"DELETE /users/u HTTP/1.1\r\nHost: t\r\n\r\n"
        caller.send(POST + upgrade + b"Content-Length: %d\r\n\r\n" % len(hidden))
        if late:
            # The gateway has read the head before the body is sent.
            caller.send(hidden[:1])
            async with asyncio.timeout(WITHIN_S):
                # This request and that for the metrics.
                while await server.count("tastestream_http_requests_in_flight") != 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            hidden = hidden[1:]
        caller.send(hidden)
        status, problem = await caller.answer()
        assert (status, problem["code"]) == (400, "malformed_body")
        caller.send(b"GET /users/u HTTP/1.1\r\nHost: t\r\n\r\n")
        status, user = await caller.answer()
        assert (status, [recent["item_id"] for recent in user["recents"]]) == (200, ["i"])


async def test_pipelined_upgrades_are_all_answered(server: Server) -> None:
    async with server.connect() as caller:
        caller.send((POST + H2C + LENGTH + GET[:-2] + WEBSOCKET + b"\r\n") * 300)
        assert [(await caller.answer())[0] for _ in range(600)] == [202, 200] * 300


async def test_the_same_limits_apply(server: Server) -> None:
    for wrong in (b"Host: other\r\n", b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"):
        async with server.connect() as caller:
            caller.send(POST + H2C + wrong + b"\r\n")
            assert (await caller.answer())[1]["code"] == "malformed_request"
            assert await caller.ended() == b""


async def test_the_body_is_requested_with_100_continue(server: Server) -> None:
    async with server.connect() as caller:
        caller.send(POST + H2C + b"Expect: 100-continue\r\n" + LENGTH[: -len(EVENT)])
        assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        caller.send(EVENT)
        assert (await caller.answer())[0] == 202


async def test_connect_is_refused(server: Server) -> None:
    async with server.connect() as caller:
        caller.send(b"CONNECT t:80 HTTP/1.1\r\nHost: t\r\n\r\n" + POST + LENGTH)
        assert (await caller.answer())[1]["code"] == "malformed_request"
        assert await caller.ended() == b""
    assert await server.count('tastestream_events_total{result="accepted",tenant="default"}') == 0
