"""The client's retries and errors."""

from collections.abc import Sequence

import httpx
import pytest

from service.client import client as http_client
from service.client.client import ServiceClient, ServiceError

USER = {"summary": None, "pending_events": 0}
BUSY = {"code": "overloaded", "detail": "too many requests"}


def answering(*answers: httpx.Response | Exception) -> httpx.MockTransport:
    """A service that gives these answers in order and repeats the last one."""
    left: Sequence[httpx.Response | Exception] = answers

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal left
        first, *rest = left
        left = rest or left
        if isinstance(first, Exception):
            raise first
        return first

    return httpx.MockTransport(answer)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "RETRY_INITIAL_S", 0.01)


async def test_a_busy_service_is_retried_until_the_patience_ends() -> None:
    busy = httpx.Response(429, json=BUSY, headers={"Retry-After": "1"})
    async with ServiceClient("http://t", patience_s=0.5, transport=answering(busy)) as client:
        with pytest.raises(ServiceError, match="GET http://t/users/u was refused: 429 overloaded: too many requests"):
            await client.user("u")


@pytest.mark.parametrize("error", [httpx.ReadError("closed"), httpx.RemoteProtocolError("closed")])
async def test_a_lost_connection_is_retried_only_if_the_service_has_answered_before(error: Exception) -> None:
    answer = httpx.Response(200, json=USER)
    async with ServiceClient("http://t", transport=answering(answer, error, error, answer)) as client:
        await client.user("u")
        assert await client.user("u") == USER
    async with ServiceClient("http://t", transport=answering(error, answer)) as client:
        with pytest.raises(ServiceError, match="the service at http://t is not reachable: closed"):
            await client.user("u")


async def test_a_service_that_does_not_come_back_is_given_up() -> None:
    answers = httpx.Response(200, json=USER), httpx.ConnectError("refused")
    async with ServiceClient("http://t", patience_s=0.1, transport=answering(*answers)) as client:
        await client.user("u")
        with pytest.raises(ServiceError, match="not reachable: refused"):
            await client.user("u")


@pytest.mark.parametrize(
    ("answer", "ready"),
    [(httpx.Response(200), True), (httpx.Response(503), False), (httpx.ConnectError("refused"), False)],
)
async def test_readiness_is_asked_once(answer: httpx.Response | Exception, ready: bool) -> None:
    async with ServiceClient("http://t", transport=answering(answer, AssertionError("again"))) as client:
        assert await client.ready() is ready


async def test_a_timeout_names_the_request() -> None:
    async with ServiceClient("http://t", transport=answering(httpx.ReadTimeout("slow"))) as client:
        with pytest.raises(ServiceError, match="DELETE http://t/users/a%2Fb timed out"):
            await client.delete_user("a/b")
