"""Promises of the middlewares."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from service.http import connection
from service.settings.limits import LimitSettings
from service.state.users import Users
from tests.service.conftest import Gateway, OpenGateway

EVENT = {"user_id": "secret-user", "item_id": "secret-item"}


async def test_every_response_has_the_request_id(gateway: Gateway) -> None:
    given = await gateway.ask("GET", "/healthz", headers={"x-request-id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    generated = {(await gateway.ask("GET", path)).headers["x-request-id"] for path in ("/healthz", "/nowhere")}
    assert len(generated) == 2
    forged = await gateway.ask("GET", "/healthz", headers={"x-request-id": "a b"})
    assert forged.headers["x-request-id"] != "a b"


async def test_an_unexpected_exception_is_a_500_without_details_and_a_traceback_in_the_log(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the details")

    monkeypatch.setattr(Users, "read", fail)
    with structlog.testing.capture_logs() as entries:
        answer = await gateway.ask("GET", "/users/u")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "details" not in answer.text
    assert [entry["event"] for entry in entries if entry.get("exc_info")] == ["request_failed"]
    assert gateway.count("tastestream_errors_total", code="internal_error") == 1


async def test_requests_are_measured_by_route_template(gateway: Gateway) -> None:
    await gateway.ask("GET", "/items/secret-item")
    await gateway.ask("GET", "/nowhere/secret-item")
    await gateway.client.request("BREW", "/nowhere")
    count = "tastestream_http_request_seconds_count"
    assert gateway.count(count, method="GET", route="/items/{item_id}", status="404") == 1
    assert gateway.count(count, method="GET", route="unmatched", status="404") == 1
    assert gateway.count(count, method="other", route="unmatched", status="404") == 1
    assert "secret" not in (await gateway.ask("GET", "/metrics")).text


@pytest.mark.parametrize("wanted", ["all", "errors"])
async def test_the_log_has_a_line_per_request_or_error_and_no_user_or_item_in_it(
    open_gateway: OpenGateway, wanted: str
) -> None:
    async with open_gateway(log_requests=wanted) as gateway:
        with structlog.testing.capture_logs() as entries:
            await gateway.ask("POST", "/events", EVENT)
            await gateway.ask("GET", "/users/secret-user", headers={"authorization": "Bearer secret-key"})
            await gateway.ask("GET", "/healthz")
            await gateway.ask("POST", "/events", {**EVENT, "type": "secret type"})
    lines = [("/events", 202), ("/users/{user_id}", 200), ("/events", 422)]
    expected = lines if wanted == "all" else lines[-1:]
    assert [(entry["route"], entry["status"]) for entry in entries] == expected
    assert "secret" not in repr(entries)


async def test_the_cause_of_a_redis_failure_is_only_in_the_log(open_gateway: OpenGateway) -> None:
    async with open_gateway(redis_url="redis://127.0.0.1:1") as gateway:
        with structlog.testing.capture_logs() as entries:
            answers = [await gateway.ask("POST", "/events", EVENT), await gateway.ask("GET", "/users/u")]
    lines = [entry for entry in entries if entry["event"] == "request"]
    for answer, entry in zip(answers, lines, strict=True):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["detail"] == "Redis can't be used now; send it again"
        assert "127.0.0.1:1" in entry["reason"]


class TestBodyLimit:
    @pytest.fixture
    async def small(self, open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
        async with open_gateway(limits=LimitSettings(body_bytes=200)) as gateway:
            yield gateway

    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/events"), ("POST", "/recommend"), ("POST", "/items"), ("PUT", "/items/i")]
    )
    @pytest.mark.parametrize("way", ["announced", "in drops", "in one piece"])
    async def test_a_body_beyond_the_limit_is_a_413(self, small: Gateway, method: str, path: str, way: str) -> None:
        async def pieces(size: int) -> AsyncIterator[bytes]:
            for _ in range(300 // size):
                yield b" " * size

        content: Any = {"announced": b" " * 300, "in drops": pieces(10), "in one piece": pieces(300)}[way]
        answer = await small.client.request(method, path, content=content)
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["field"]) == (413, "body_too_large", "body")

    async def test_it_is_refused_while_it_streams(self, small: Gateway) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 1
                yield b'{"user_id":"u"}\n'

        answer = await small.client.post("/items", content=endless(), headers={"content-type": "application/x-ndjson"})
        assert answer.status_code == 413
        assert sent < 20

    async def test_a_body_that_does_not_arrive_is_a_408(self, open_gateway: OpenGateway) -> None:
        async def stalled() -> AsyncIterator[bytes]:
            yield b"["
            await asyncio.Event().wait()

        async with open_gateway(limits=LimitSettings(body_timeout_s=0.1)) as gateway:
            answer = await gateway.client.post("/events", content=stalled())
            assert (answer.status_code, answer.json()["code"]) == (408, "body_timeout")

    async def test_a_body_within_the_limit_passes(self, small: Gateway) -> None:
        assert (await small.ask("POST", "/events", EVENT)).status_code == 202

    async def test_an_announced_giant_is_refused_over_a_socket_before_it_is_sent(
        self, small: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "_LINGER_S", 0.1)
        async with small.on_a_socket() as url:
            host, _, port = url.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000000000\r\n\r\n"
            )
            async with asyncio.timeout(60):
                assert b"413" in await reader.readline()
                assert b"connection: close" in await reader.read()
            writer.close()
