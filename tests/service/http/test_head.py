"""Promises about a request's head: an ambiguous one is refused."""

import pytest

from tests.service.http.raw import EVENT, GET, Server


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nhost: b\r\n",
        b"Host: a b\r\n",
        b"Host: a/b\r\n",
        b"Host: user@a\r\n",
        b"Host: a:b\r\n",
        b"Host: a b:80\r\n",
        b"Host: [::1\r\n",
        b"Host: \xc3\xbc.example\r\n",
        b"Host: " + b"a" * 300 + b"\r\n",
    ],
)
async def test_a_request_names_one_host(server: Server, host: bytes) -> None:
    async with server.connect() as caller:
        caller.send(b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n" + GET)
        status, problem = await caller.answer()
        assert (status, problem["code"], problem["field"]) == (400, "malformed_request", "host")
        assert await caller.ended() == b""


@pytest.mark.parametrize(
    "host", [b"", b"t", b"t:8000", b"t.example.", b"[::1]:80", b"127.0.0.1", b"a_b", b"xn--bcher-kva.example"]
)
async def test_every_form_of_a_host_is_accepted(server: Server, host: bytes) -> None:
    async with server.connect() as caller:
        caller.send(b"GET /healthz HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
        assert (await caller.answer())[0] in (200, 421)


async def test_before_http_1_1_a_host_may_be_missing(server: Server) -> None:
    async with server.connect() as caller:
        caller.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await caller.answer())[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /events HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST /events HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
        b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Length: -3\r\n\r\nabc",
        b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Length : 3\r\n\r\nabc",
        b"POST /events HTTP/1.1\r\nHost: t\r\nX: y\r\n z: 1\r\n\r\n",
        b"POST /events HTTP/1.1\nHost: t\n\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/2.0\r\nHost: t\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_an_ambiguous_head_is_refused_and_nothing_after_it_is_parsed(server: Server, sent: bytes) -> None:
    hidden = b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    async with server.connect() as caller:
        caller.send(sent + hidden % (len(EVENT), EVENT))
        assert (await caller.answer())[1]["code"] == "malformed_request"
        assert await caller.ended() == b""
    assert await server.count('tastestream_events_total{result="accepted",tenant="default"}') == 0


@pytest.mark.parametrize("size", [b"-1", b"+1", b"0x1", b"1 ", b" 1", b"g", b"", b"f" * 17, b"1\n", b"1;a\n"])
async def test_the_size_of_a_chunk_must_be_a_number(server: Server, size: bytes) -> None:
    async with server.connect() as caller:
        head = b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
        caller.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nx\r\n0\r\n\r\n" + GET)
        assert (await caller.answer())[1]["code"] == "malformed_request"
        assert await caller.ended() == b""
