"""Promises about concurrent requests: no class of requests and no caller blocks the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.http import admission
from service.http.admission import _network, route_class
from service.settings.limits import ConcurrencySettings, LimitSettings
from service.state.store import Store
from tests.service.conftest import Gateway, OpenGateway
from tests.service.serving import until

EVENT = {"user_id": "u", "item_id": "i"}
REFUSED = "tastestream_http_requests_refused_total"
NDJSON = {"content-type": "application/x-ndjson"}
FEW = ConcurrencySettings(events=4, event_streams=4, recommend=4, items=4, deletes=4, reads=4, operations=4)


def limits(**more: Any) -> LimitSettings:
    return LimitSettings(max_concurrent_requests=FEW, **{"caller_share": 1, **more})


class Held:
    """Requests whose bodies end on command."""

    def __init__(self) -> None:
        self.end = asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        yield b" "
        await self.end.wait()


@asynccontextmanager
async def held(gateway: Gateway, path: str, count: int, headers: dict[str, str] | None = None) -> AsyncIterator[None]:
    """Keeps `count` requests to `path` in flight."""
    holding = Held()
    async with AsyncExitStack() as stack:
        stack.callback(holding.end.set)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        before = admitted(gateway)
        for _ in range(count):
            group.create_task(gateway.client.post(path, content=holding.body(), headers=headers))
        await until(lambda: admitted(gateway) == before + count)
        yield
        holding.end.set()


def admitted(gateway: Gateway) -> float:
    classes = ConcurrencySettings.model_fields
    return sum(gateway.count("tastestream_http_requests_admitted", route_class=name) for name in classes)


@pytest.mark.parametrize(
    ("path", "headers", "full"),
    [
        ("/events", NDJSON, "event_streams"),
        ("/events", None, "events"),
        ("/recommend", None, "recommend"),
        ("/items", None, "items"),
        ("/items", NDJSON, "items"),
    ],
)
async def test_slow_and_idle_requests_do_not_block_other_classes(
    open_gateway: OpenGateway, path: str, headers: dict[str, str] | None, full: str
) -> None:
    asks: dict[str, tuple[Any, ...]] = {
        "events": ("POST", "/events", EVENT),
        "recommend": ("POST", "/recommend", {"user_id": "u", "candidates": ["i"]}),
        "items": ("PUT", "/items/i", {"title": "tea"}),
        "reads": ("GET", "/users/u"),
        "deletes": ("DELETE", "/users/u"),
        "operations": ("GET", "/readyz"),
    }
    async with open_gateway(limits=limits()) as gateway, held(gateway, path, 4, headers):
        refused = await gateway.client.post(path, content=b" ", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
        statuses = {name: (await gateway.ask(*ask)).status_code for name, ask in asks.items() if name != full}
        assert set(statuses.values()) <= {200, 201, 202, 204}, statuses
        assert gateway.count("tastestream_http_requests_refused_total", route_class=full, reason="class_full") == 1


async def test_an_answered_request_frees_its_place(open_gateway: OpenGateway) -> None:
    async with open_gateway(limits=limits()) as gateway:
        for _ in range(3):
            async with held(gateway, "/events", 4):
                assert (await gateway.ask("POST", "/events", EVENT)).status_code == 429
            assert (await gateway.ask("POST", "/events", EVENT)).status_code == 202
            assert admitted(gateway) == 0


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
async def test_who_watches_the_gateway_is_always_served(open_gateway: OpenGateway, path: str) -> None:
    async with open_gateway(limits=limits()) as gateway:
        answers = await asyncio.gather(*(gateway.ask("GET", path) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}


async def test_one_key_can_not_use_up_a_class(open_gateway: OpenGateway, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("greedy\nmodest\n")
    greedy, modest = ({"authorization": f"Bearer {key}"} for key in ("greedy", "modest"))
    async with (
        open_gateway(limits=limits(caller_share=0.5), api_keys_file=keys) as gateway,
        held(gateway, "/events", 2, greedy),
    ):
        assert (await gateway.ask("POST", "/events", EVENT, headers=greedy)).status_code == 429
        assert (await gateway.ask("POST", "/events", EVENT, headers=modest)).status_code == 202
        reasons = {"route_class": "events", "reason": "caller_share"}
        assert gateway.count("tastestream_http_requests_refused_total", **reasons) == 1


async def test_refusals_of_open_paths_are_delayed(open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_DELAY_S", 3600.0)
    monkeypatch.setattr(Store, "ping", lambda self: asyncio.sleep(0.3))
    async with open_gateway(limits=limits()) as gateway:
        asking = [asyncio.create_task(gateway.ask("GET", "/readyz")) for _ in range(10)]
        await until(lambda: gateway.count(REFUSED, route_class="operations", reason="class_full") == 6)
        for _ in range(20):
            assert (await gateway.ask("POST", "/events", EVENT)).status_code == 202
        await asyncio.wait(asking[:4])
        assert [task.done() for task in asking] == [True] * 4 + [False] * 6
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_requests_without_a_key_take_no_place(open_gateway: OpenGateway, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key\n")
    async with open_gateway(limits=limits(), api_keys_file=keys) as gateway:
        answers = await asyncio.gather(*(gateway.ask("POST", "/recommend", {"user_id": "u"}) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {401}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("somebody", "somebody", True),
    ],
)
def test_a_caller_is_an_ipv4_address_or_an_ipv6_network(one: str, other: str, same: bool) -> None:
    assert (_network(one) == _network(other)) is same


@pytest.mark.parametrize(
    ("method", "path", "content_type", "kind"),
    [
        ("POST", "/events", "application/json", "events"),
        ("POST", "/events", "", "events"),
        ("POST", "/events", "Application/X-NDJSON; charset=utf-8", "event_streams"),
        ("POST", "/events", "text/jsonl", "event_streams"),
        ("POST", "/recommend", "application/json", "recommend"),
        ("PUT", "/items/i", "application/json", "items"),
        ("DELETE", "/items/i", "", "items"),
        ("GET", "/items", "", "reads"),
        ("GET", "/users/u", "", "reads"),
        ("DELETE", "/users/u", "", "deletes"),
        ("GET", "/nowhere", "", "reads"),
        ("GET", "/metrics", "", "operations"),
    ],
)
def test_the_class_of_a_request(method: str, path: str, content_type: str, kind: str) -> None:
    scope = {"path": path, "method": method, "headers": [(b"content-type", content_type.encode())]}
    assert route_class(scope) == kind
