"""Promises about connections: callers that send no HTTP, too much of it or nothing at all cost little."""

import asyncio
from contextlib import suppress

import pytest
import structlog
import uvloop

from tests.service.http.raw import EVENT, GET, WITHIN_S, OpenServer, Server


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00",
        b"BREW /events HTTP/1.1\r\n\r\n",
        b"GET /users/\xc3\xbc HTTP/1.1\r\n\r\n",
        b"GET /users/%b HTTP/1.1\r\n\r\n" % (b"x" * 70_000),
        b"POST /events HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /events HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_malformed_http_is_a_400_problem_that_is_counted_and_logged(server: Server, sent: bytes) -> None:
    with structlog.testing.capture_logs() as entries:
        async with server.connect() as caller:
            caller.send(sent)
            status, problem = await caller.answer()
            assert (status, problem["code"]) == (400, "malformed_request")
            assert await caller.ended() == b""
    assert [entry["code"] for entry in entries if entry["event"] == "connection_refused"] == ["malformed_request"]
    assert await server.count('tastestream_errors_total{code="malformed_request"}') == 1


async def test_a_complete_request_before_malformed_http_is_answered(server: Server) -> None:
    async with server.connect() as caller:
        head = (
            b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(EVENT)
        )
        caller.send(head + EVENT + b"and more\r\n\r\n")
        assert (await caller.answer())[0] == 202
        assert await caller.ended() == b""


async def test_an_endless_head_is_a_431(open_server: OpenServer) -> None:
    async with open_server(header_bytes=10_000) as server, server.connect() as caller:
        caller.send(b"GET /healthz HTTP/1.1\r\nHost: t\r\nX-Long: ")
        for _ in range(100):
            caller.send(b"x" * 1_000)
            await asyncio.sleep(0)
        status, problem = await caller.answer()
        assert (status, problem["code"]) == (431, "headers_too_large")
        assert await caller.ended() == b""


async def test_the_previous_body_does_not_count_as_part_of_a_head(open_server: OpenServer) -> None:
    async with open_server(header_bytes=1_000) as server, server.connect() as caller:
        head = b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
            len(EVENT) + 5_000
        )
        caller.send(head + EVENT + b" " * 5_000 + GET[:20])
        assert (await caller.answer())[0] == 202
        caller.send(GET[20:])
        assert await caller.answer() == (200, {"status": "ok"})


async def test_a_head_that_does_not_arrive_is_a_408(open_server: OpenServer) -> None:
    async with open_server(header_timeout_s=0.5) as server, server.connect() as caller:
        caller.send(GET[:-2])
        status, problem = await caller.answer()
        assert (status, problem["code"]) == (408, "headers_timeout")
        assert await caller.ended() == b""


async def test_a_silent_connection_is_closed(open_server: OpenServer) -> None:
    async with open_server(header_timeout_s=0.5) as server, server.connect() as caller:
        assert await caller.ended() == b""


async def test_a_connection_may_idle_longer_between_requests(open_server: OpenServer) -> None:
    async with open_server(header_timeout_s=0.5) as server, server.connect() as caller, server.connect() as silent:
        caller.send(GET)
        await caller.answer()
        caller.send(b"\r\n")
        # Now the time for a head has passed since the response.
        await silent.ended()
        async with server.connect() as later:
            await later.ended()
        caller.send(GET)
        assert await caller.answer() == (200, {"status": "ok"})


async def test_too_many_connections_are_refused_until_one_is_closed(open_server: OpenServer) -> None:
    async with open_server(connections=2) as server, server.connect() as first:
        async with server.connect() as second:
            for caller in (first, second):
                caller.send(GET)
                assert (await caller.answer())[0] == 200
            async with server.connect() as third:
                status, problem = await third.answer()
                assert (status, problem["code"]) == (429, "overloaded")
                assert await third.ended() == b""
        served = False

        async def serve() -> None:
            nonlocal served
            # A refused caller that is still sending may lose its answer.
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                async with server.connect() as caller:
                    caller.send(GET)
                    served = (await caller.answer())[0] == 200

        async with asyncio.timeout(WITHIN_S):
            while not served:
                await serve()


def test_a_caller_that_does_not_read_responses_is_disconnected_without_errors(open_server: OpenServer) -> None:
    async def leave_unread() -> None:
        async with open_server(answer_timeout_s=0.1) as server, server.connect() as caller:
            caller.send(GET.replace(b"/healthz", b"/openapi.json") * 1000)
            async with asyncio.timeout(WITHIN_S):
                # Until only the connection of this request is open.
                while await server.count("tastestream_http_connections") != 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert await server.count("tastestream_http_requests_in_flight") == 1

    # The event loop of production, which reports writes to closed connections.
    with structlog.testing.capture_logs() as entries, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(leave_unread())
    logged = [entry["event"] for entry in entries]
    assert "answer_not_read" in logged
    assert "request_failed" not in logged


async def test_open_connections_are_counted(server: Server) -> None:
    async with server.connect() as caller:
        caller.send(GET)
        await caller.answer()
        # This one and that of the metrics request.
        assert await server.count("tastestream_http_connections") == 2


async def test_an_upgrade_is_declined_and_the_request_is_answered(server: Server) -> None:
    async with server.connect() as caller:
        for protocol in (b"websocket", b"h2c"):
            caller.send(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol)
            assert await caller.answer() == (200, {"status": "ok"})
