"""Promises about all bodies together: they stay within their memory limit, and slow ones are dropped first."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import ValidationError

from service.errors import Overloaded
from service.http.body_budget import _FREE, BodyBudget, Holding
from service.metrics import Metrics
from service.settings.limits import LimitSettings
from tests.service.conftest import Gateway, OpenGateway
from tests.service.serving import until

KB = 1024
EVENT = b'{"user_id":"u","item_id":"i"}'
LIMITS = LimitSettings(body_bytes=600 * KB, events_bytes=600 * KB, bytes_in_flight=1000 * KB)


def held(gateway: Gateway) -> float:
    return gateway.count("tastestream_http_body_bytes")


class Slow:
    """A body of `size` bytes that stays open until `end`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.end = asyncio.Event()

    async def pieces(self) -> AsyncIterator[bytes]:
        for _ in range(self.size // (10 * KB)):
            yield b" " * 10 * KB
            await asyncio.sleep(0)
        await self.end.wait()
        yield EVENT


async def post(gateway: Gateway, body: Slow) -> httpx.Response:
    return await gateway.client.post("/events", content=body.pieces())


async def test_open_bodies_together_stay_within_the_budget(open_gateway: OpenGateway) -> None:
    async with open_gateway(limits=LIMITS) as gateway:
        bodies = [Slow(500 * KB) for _ in range(20)]
        asking = [asyncio.create_task(post(gateway, body)) for body in bodies]
        most = 0.0

        def watched() -> bool:
            nonlocal most
            most = max(most, held(gateway))
            return gateway.count("tastestream_http_bodies_refused_total") == 18

        await until(watched)
        assert 0 < most <= LIMITS.bytes_in_flight
        for body in bodies:
            body.end.set()
        answers = await asyncio.gather(*asking)
        assert sorted(answer.status_code for answer in answers) == [202] * 2 + [429] * 18
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["code"] == "overloaded"
        assert int(refused.headers["retry-after"]) > 0
        assert held(gateway) == 0


async def test_the_costliest_body_is_dropped_and_not_the_latest(open_gateway: OpenGateway) -> None:
    async with open_gateway(limits=LIMITS) as gateway:
        slow = [Slow(500 * KB) for _ in range(2)]
        stuck = [asyncio.create_task(post(gateway, body)) for body in slow]
        await until(lambda: held(gateway) == 2 * (500 * KB - _FREE))
        for _ in range(3):
            quick = Slow(500 * KB)
            quick.end.set()
            assert (await post(gateway, quick)).status_code == 202
        # Only one was dropped.
        (first,), _ = await asyncio.wait(stuck, return_when=asyncio.FIRST_COMPLETED)
        assert first.result().status_code == 429
        for body in slow:
            body.end.set()
        assert sorted([(await answer).status_code for answer in stuck]) == [202, 429]


async def test_small_bodies_are_accepted_when_large_ones_fill_the_budget(open_gateway: OpenGateway) -> None:
    async with open_gateway(limits=LIMITS) as gateway:
        slow = [Slow(500 * KB) for _ in range(2)]
        stuck = [asyncio.create_task(post(gateway, body)) for body in slow]
        await until(lambda: held(gateway) == 2 * (500 * KB - _FREE))
        for _ in range(100):
            assert (await gateway.client.post("/events", content=EVENT)).status_code == 202
        assert gateway.count("tastestream_http_bodies_refused_total") == 0
        for body in slow:
            body.end.set()
        assert {(await answer).status_code for answer in stuck} == {202}


async def test_a_stream_counts_only_its_current_piece(open_gateway: OpenGateway) -> None:
    most = 0.0

    async def lines() -> AsyncIterator[bytes]:
        nonlocal most
        for number in range(30):
            yield b'{"user_id":"u%d","item_id":"i"}\n' % number + b" " * 100 * KB + b"\n"
            most = max(most, held(gateway))

    limits = LimitSettings(body_bytes=200 * KB, bytes_in_flight=200 * KB)
    async with open_gateway(limits=limits) as gateway:
        answer = await gateway.client.post("/events", content=lines(), headers={"content-type": "application/x-ndjson"})
        assert (answer.status_code, answer.json()["accepted"]) == (202, 30)
        assert most <= 100 * KB


async def test_a_disconnect_frees_the_body(open_gateway: OpenGateway) -> None:
    async with open_gateway(limits=LIMITS) as gateway, gateway.on_a_socket() as url:
        host, _, port = url.removeprefix("http://").partition(":")
        for _ in range(5):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: 600000\r\n\r\n" + b" " * 500 * KB)
            await until(lambda: held(gateway) == 500 * KB - _FREE)
            writer.close()
            await until(lambda: held(gateway) == 0)


async def test_a_complete_body_is_not_dropped() -> None:
    budget = BodyBudget(100 * KB, Metrics())
    whole, late = Holding(started=0.0), Holding(started=asyncio.get_running_loop().time())
    budget.hold(whole, 100 * KB + _FREE)
    whole.arriving = False
    with pytest.raises(Overloaded):
        budget.hold(late, _FREE + 1)
    assert (whole.refused, late.refused) == (False, True)
    budget.release(whole)
    budget.hold(Holding(started=0.0), 100 * KB + _FREE)


def test_the_budget_must_fit_a_body_of_the_largest_size() -> None:
    with pytest.raises(ValidationError, match="BYTES_IN_FLIGHT"):
        LimitSettings(body_bytes=2_000_000, bytes_in_flight=1_000_000)
