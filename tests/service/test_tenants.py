"""What one tenant does, no other tenant reads, changes, counts or loses, even with the same user and item ids."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from model_store.errors import UserError
from service.api_keys.records import SCOPES, ApiKey, digest_of
from service.app import create_app
from service.http.admission import Admission
from service.http.auth import CALLER
from service.http.pressure import Pressure
from service.http.tenants import PerTenant
from service.metrics import Metrics
from service.names import DEFAULT_TENANT
from service.settings import Settings
from service.settings.limits import LimitSettings
from service.settings.tenants import EncodedChoice, TenantSettings
from service.state.keys import Keys
from service.state.store import Store
from tests.redis_servers import admin_of, all_keys
from tests.service.conftest import Gateway, OpenGateway
from tests.service.pictures.pictures import encoded, picture
from tests.service.serving import ModelServer, serving, until

SHOP, NEWS = "shop", "shop-eu"
"""One name begins with the other."""
TENANTS = (DEFAULT_TENANT, SHOP, NEWS)
MARKS = {DEFAULT_TENANT: "lantern", SHOP: "kettle", NEWS: "teapot"}
"""A word that is in everything that a tenant has, and in nothing of another."""
COLOURS = {DEFAULT_TENANT: (1, 2, 3), SHOP: (200, 30, 40), NEWS: (200, 30, 40)}
USERS = ("u", "ts@shop:{b1}:u:u", "-eu:{b0}:u:u")
ITEMS = ("i", "i:{i0}:m:i", "ts@shop-eu:popular", "-eu:i")
TENANTLESS = {
    *("GET /healthz", "HEAD /healthz", "GET /readyz", "HEAD /readyz", "GET /metrics", "OPTIONS /events"),
    *("GET /docs", "GET /docs/oauth2-redirect", "GET /openapi.json", "HEAD /openapi.json"),
    "MOUNT /static-offline-docs",
}
"""Routes on which nothing depends on the tenant."""


@dataclass(frozen=True)
class Request:
    """`shows` says whether the answer must contain what the caller's tenant has."""

    path: str
    json: Any = None
    status: int = 200
    shows: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


def _events(mark: str) -> Iterator[Request]:
    for user in USERS:
        several = [{"user_id": user, "item_id": item, "type": "like", "event_id": f"again {item}"} for item in ITEMS]
        yield Request("/events", several, 202)
        yield Request("/events?results=true", several, 202)
    line = {"user_id": "u", "item_id": f"of-{mark}", "type": "click"}
    yield Request(
        "/events", None, 202, more={"content": f'{{"user_id":"u","item_id":"{line["item_id"]}"}}\n', **NDJSON}
    )


def _recommend(mark: str) -> Iterator[Request]:
    for user in USERS:
        yield Request("/recommend", {"user_id": user, "k": 50, "exclude_seen": False, "explain": True})
        yield Request("/recommend", {"user_id": user, "k": 50, "filters": {"genres": list(MARKS.values())}})
        yield Request("/recommend", {"user_id": user, "candidates": [*ITEMS, *(f"of-{one}" for one in MARKS.values())]})


def _put_items(mark: str) -> Iterator[Request]:
    many = [{"item_id": item, "title": f"{mark} again", "tags": [mark]} for item in (*ITEMS, "another")]
    yield Request("/items", many, 202)


def _put_item(mark: str) -> Iterator[Request]:
    for item in ITEMS:
        image = encoded(picture(colour=(9, 9, 9)))
        yield Request(_at("/items", item), {"title": f"{mark} anew", "image_base64": image}, shows=True)
        yield Request(_at("/items", item), {"title": mark, "image_url": "https://example.com/i.png"}, shows=True)


def _at(root: str, one: str) -> str:
    return f"{root}/{quote(one, safe='')}"


NDJSON = {"headers": {"content-type": "application/x-ndjson"}}
ROUTES: dict[str, Callable[[str], Iterator[Request]]] = {
    "POST /events": _events,
    "POST /recommend": _recommend,
    "POST /items": _put_items,
    "GET /items": lambda _: iter([Request("/items", shows=True), Request("/items?limit=2", shows=True)]),
    "GET /items/{item_id}": lambda _: (Request(_at("/items", item), shows=True) for item in ITEMS),
    "GET /items/{item_id}/similar": lambda _: (Request(f"{_at('/items', item)}/similar?k=100") for item in ITEMS),
    "PUT /items/{item_id}": _put_item,
    "DELETE /items/{item_id}": lambda _: (Request(_at("/items", item), status=204) for item in ITEMS),
    "GET /users/{user_id}": lambda _: (Request(_at("/users", user), shows=True) for user in USERS),
    "DELETE /users/{user_id}": lambda _: (Request(_at("/users", user), status=204) for user in USERS),
}
"""The requests of a tenant with this mark, by route."""


def routes_of(app: FastAPI) -> set[str]:
    found: set[str] = set()
    for route in app.routes:
        path = getattr(route, "path", repr(route))
        methods = {"MOUNT"} if isinstance(route, Mount) else getattr(route, "methods", None) or {"?"}
        found |= {f"{method} {path}" for method in methods}
    return found


class Caller:
    """One tenant's client."""

    def __init__(self, gateway: Gateway, tenant: str) -> None:
        self._gateway = gateway
        self.tenant = tenant
        self.mark = MARKS[tenant]
        self.store = gateway.store.of(tenant)
        self._authorization = {"authorization": f"Bearer key of {tenant}".replace(" of ", "-of-")}

    async def ask(self, method: str, path: str, json: Any = None, **more: Any) -> httpx.Response:
        headers = {**more.pop("headers", {}), **self._authorization}
        return await self._gateway.ask(method, path, json, headers=headers, **more)

    async def fill(self) -> None:
        """Items, likes, a summary, a dead letter, a logged event, cached scores, pictures; named like the others'."""
        image = encoded(picture(colour=COLOURS[self.tenant]))
        for number, item in enumerate((*ITEMS, f"of-{self.mark}")):
            words = {"title": f"A {self.mark}, {number}", "genres": [self.mark], "image_base64": image}
            assert (await self.ask("PUT", _at("/items", item), words)).status_code == 201
        for user in USERS:
            likes = [{"user_id": user, "item_id": one, "type": "like"} for one in (*ITEMS, f"of-{self.mark}", "absent")]
            assert (await self.ask("POST", "/events", likes)).json()["accepted"] == len(likes)
        claims = await self.store.summaries.claim(len(USERS))
        assert {claim.key for claim in claims} == set(USERS)
        for claim in claims:
            assert await self.store.summaries.commit(claim, f"likes the {self.mark}", self.mark, "p", 3, list(ITEMS))
        await self.store.cooccurrence.record([*ITEMS, f"of-{self.mark}"], [], {"absent"})
        await self.store.cooccurrence.seed(self.mark, [("i", 1.0)], [])
        (claim, *_) = await self.store.summaries.claim(1)
        assert await self.store.summaries.dead_letter(claim, self.mark, 1) == "dead_lettered"
        for user in USERS:
            await self.ask("POST", "/recommend", {"user_id": user})
        assert await self.store.locks.take("sweep", 3600)


def key_lines(*tenants: str) -> str:
    """A keys file: for each tenant a key of the same name with all scopes."""
    keys = (ApiKey(digest_of(f"key-of-{name}"), "web", name, frozenset(SCOPES)) for name in tenants)
    return "".join(f"{key.line()}\n" for key in keys)


def contents(url: str, pictures: Path) -> dict[str, bytes]:
    """Every key of Redis and every stored picture, with its bytes."""
    with admin_of(url) as admin:
        found = {key.decode(): admin.dump(key) or b"" for key in all_keys(admin)}
    files = (path for path in pictures.rglob("*") if path.is_file())
    return found | {f"/{path.relative_to(pictures)}": path.read_bytes() for path in files}


def owner(name: str) -> str:
    """Whose a key or a picture is."""
    if name.startswith("/"):
        return name.split("/")[2] if name.startswith("/tenants/") else DEFAULT_TENANT
    (found,) = [one for one in TENANTS if name.startswith(Keys(1, one).stem)]
    return found


def changed(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> set[str]:
    return {owner(name) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def counted(gateway: Gateway) -> dict[tuple[str, str], float]:
    """All series that name a tenant, by tenant and the rest."""
    samples = (one for family in gateway.metrics.registry.collect() for one in family.samples if "tenant" in one.labels)
    return {(one.labels["tenant"], f"{one.name}{sorted(one.labels.items())}"): one.value for one in samples}


@pytest.fixture
async def gateway(open_ranked: OpenGateway, model: ModelServer, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose three tenants have the same things, and keys of the same name."""
    file = tmp_path / "keys"
    file.write_text(key_lines(*TENANTS))
    async with (
        serving(model.app()) as url,
        open_ranked(url, api_keys_file=file, tenants={SHOP: {}, NEWS: {}}) as gateway,
    ):
        for tenant in TENANTS:
            await Caller(gateway, tenant).fill()
        yield gateway


async def test_every_route_is_tried_or_known_to_be_of_no_tenant(gateway: Gateway) -> None:
    assert routes_of(gateway.app) == ROUTES.keys() | TENANTLESS
    assert ROUTES.keys().isdisjoint(TENANTLESS)


@pytest.mark.parametrize("tenant", TENANTS)
@pytest.mark.parametrize("route", ROUTES)
async def test_a_request_neither_shows_nor_changes_what_others_have(
    gateway: Gateway, redis_url: str, tmp_path: Path, route: str, tenant: str
) -> None:
    caller, method = Caller(gateway, tenant), route.partition(" ")[0]
    foreign = [mark for other, mark in MARKS.items() if other != tenant]
    before, counts = contents(redis_url, tmp_path / "pictures"), counted(gateway)
    assert {owner(name) for name in before} == set(TENANTS)
    for request in ROUTES[route](caller.mark):
        answer = await caller.ask(method, request.path, request.json, **request.more)
        assert answer.status_code == request.status, answer.text
        said = answer.text + str(answer.headers)
        for mark in foreign:
            named = f"of-{mark}"
            assert mark not in (said.replace(named, "") if named in str(request.json) else said)
        assert not request.shows or caller.mark in said, said
    after = contents(redis_url, tmp_path / "pictures")
    if method != "GET":
        assert changed(before, after) == {tenant}
    else:
        assert changed(before, after) <= {tenant}
    different = {name for (name, series), value in counted(gateway).items() if counts.get((name, series), 0.0) != value}
    assert different <= {tenant}


async def test_recommendations_are_of_the_own_items_and_counts(gateway: Gateway) -> None:
    for tenant in TENANTS:
        ask = {"user_id": "stranger", "k": 50}
        answer = (await Caller(gateway, tenant).ask("POST", "/recommend", ask)).json()
        assert {item["item_id"] for item in answer["items"]} == {*ITEMS, f"of-{MARKS[tenant]}"}
        asked = {"user_id": "u", "candidates": [f"of-{mark}" for mark in MARKS.values()], "exclude_seen": False}
        answer = (await Caller(gateway, tenant).ask("POST", "/recommend", asked)).json()
        assert [item["item_id"] for item in answer["items"]] == [f"of-{MARKS[tenant]}"]
        assert len(answer["skipped"]) == 2


async def test_events_and_recommendations_are_counted_for_the_tenant_of_the_key(gateway: Gateway) -> None:
    before = counted(gateway)
    caller = Caller(gateway, NEWS)
    await caller.ask("POST", "/events", {"user_id": "fresh", "item_id": "i"})
    await caller.ask("POST", "/recommend", {"user_id": "fresh"})
    after = counted(gateway)
    grown = {
        series.partition("[")[0]
        for place, value in after.items()
        if value > before.get(place, 0.0)
        for series in place[1:]
    }
    assert {"tastestream_events_total", "tastestream_recommendations_total"} <= grown
    assert {place[0] for place, value in after.items() if value != before.get(place, 0.0)} == {NEWS}


async def test_after_a_deletion_the_same_user_of_another_tenant_is_whole(gateway: Gateway) -> None:
    shop, news = Caller(gateway, SHOP), Caller(gateway, NEWS)
    for user in USERS:
        seen = (await news.ask("GET", _at("/users", user))).json()
        assert (await shop.ask("DELETE", _at("/users", user))).status_code == 204
        gone = (await shop.ask("GET", _at("/users", user))).json()
        assert (gone["summary"], gone["recents"], gone["pending_events"]) == (None, [], 0)
        assert (await news.ask("GET", _at("/users", user))).json() == seen
    # The tombstone is of one tenant, too: an event received before the deletion is accepted for the other.
    received_ms = time.time_ns() // 1_000_000 - 1000
    late = [(await shop.store.log.count()), (await news.store.log.count())]
    assert late[0] == 0 < late[1]
    from tests.service.state.conftest import event

    assert await shop.store.events.accept([event("u", "late")], received_ms) == ["deleted"]
    assert await news.store.events.accept([event("u", "late")], received_ms) == ["accepted"]


async def test_the_backlog_of_one_tenant_refuses_no_event_of_another(open_gateway: OpenGateway, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(key_lines(*TENANTS))
    state = {"buckets": 1, "max_backlog": 3, "redis_timeout_s": 20.0}
    async with open_gateway(api_keys_file=file, tenants={SHOP: {}, NEWS: {}}, state=state) as gateway:
        shop, news = Caller(gateway, SHOP), Caller(gateway, NEWS)
        events = [{"user_id": f"u{number}", "item_id": "i"} for number in range(4)]
        assert (await shop.ask("POST", "/events", events)).json()["accepted"] == 3
        assert (await shop.ask("POST", "/events", events[3])).status_code == 429
        assert (await news.ask("POST", "/events", events[:3])).json()["accepted"] == 3


async def test_the_rate_of_a_key_is_not_that_of_another_tenants_key_of_its_name(
    open_gateway: OpenGateway, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(key_lines(*TENANTS))
    limits = {"requests_per_s": {"items": 0.001}, "rate_burst_s": 0}
    async with open_gateway(api_keys_file=file, tenants={SHOP: {}, NEWS: {}}, limits=limits) as gateway:
        shop, news = Caller(gateway, SHOP), Caller(gateway, NEWS)
        assert [(await one.ask("GET", "/items")).status_code for one in (shop, shop, news)] == [200, 429, 200]


async def test_a_tenant_with_many_keys_has_no_larger_share_than_one_key() -> None:
    inside, release = [], asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        inside.append(scope[CALLER].tenant)
        await release.wait()

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    limits = LimitSettings(max_concurrent_requests={"recommend": 8}, caller_share=0.5)
    metrics = Metrics()
    for several, most in ((True, 4), (False, 8)):
        inside.clear()
        release.clear()
        admission = Admission(app, limits, metrics, Pressure(60.0, metrics), several_tenants=several)
        keys = [ApiKey(b"", f"key{number}", SHOP, frozenset()) for number in range(8)]
        keys += [ApiKey(b"", "key0", NEWS, frozenset())]
        scopes = [{"type": "http", "method": "POST", "path": "/recommend", "headers": [], CALLER: key} for key in keys]
        async with asyncio.TaskGroup() as tasks:
            for scope in scopes:
                tasks.create_task(admission(scope, receive, send))
            await until(lambda most=most, several=several: len(inside) == (most + 1 if several else most))
            assert inside.count(SHOP) == most
            release.set()


async def test_without_keys_everything_is_of_the_default_tenant(open_gateway: OpenGateway, redis_url: str) -> None:
    async with open_gateway(tenants={SHOP: {}}) as gateway:
        await gateway.ask("PUT", "/items/i", {"title": "A lamp"})
        await gateway.ask("POST", "/events", {"user_id": "u", "item_id": "i"})
    with admin_of(redis_url) as admin:
        assert {owner(key.decode()) for key in all_keys(admin)} == {DEFAULT_TENANT}


async def test_a_request_that_should_have_a_key_but_has_none_is_of_no_tenant() -> None:
    named = {DEFAULT_TENANT: 1, SHOP: 2}
    shop = {CALLER: ApiKey(b"", "web", SHOP, frozenset())}
    assert PerTenant(named, keys=True).of(shop) == 2
    for scope in ({}, {CALLER: ApiKey(b"", "web", NEWS, frozenset())}):
        with pytest.raises(KeyError):
            PerTenant(named, keys=True).of(scope)
    assert PerTenant(named, keys=False).of({}) == 1
    with pytest.raises(KeyError):
        PerTenant(named, keys=False).of(shop)


async def test_each_tenant_has_its_own_model_and_equal_ones_share_its_engine(
    open_ranked: OpenGateway, model: ModelServer, tmp_path: Path
) -> None:
    file, other = tmp_path / "keys", ModelServer(default=0.9)
    file.write_text(key_lines(*TENANTS))
    async with serving(model.app()) as url, serving(other.app()) as own:
        tenants = {SHOP: TenantSettings(), NEWS: TenantSettings(ranker=EncodedChoice(url=own, model="another"))}
        async with open_ranked(url, api_keys_file=file, tenants=tenants) as gateway:
            ask = {"user_id": "u", "candidates": [{"item_id": "x", "title": "A teapot"}]}
            models = []
            for tenant in TENANTS:
                answer = (await Caller(gateway, tenant).ask("POST", "/recommend", ask)).json()
                assert answer["served_by"] == "mllm", answer
                models.append(answer["model"])
            assert (len(model.requests), len(other.requests)) == (2, 1)
            assert models[0] == models[1] != models[2]
            # One of the servers does not serve its tenant's model.
            assert (await gateway.ask("GET", "/readyz")).json()["ranker"] == "down"
            other.status = 503
            answer = (await Caller(gateway, NEWS).ask("POST", "/recommend", ask)).json()
            assert answer["degraded"]
            answer = (await Caller(gateway, SHOP).ask("POST", "/recommend", ask)).json()
            assert not answer["degraded"]


async def test_a_gateway_with_a_key_of_an_undeclared_tenant_does_not_start(redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(key_lines(DEFAULT_TENANT, NEWS))
    settings = Settings(redis_url=redis_url, data_dir=tmp_path, api_keys_file=file, tenants={SHOP: TenantSettings()})
    with pytest.raises(UserError, match=r"line 2: the tenant 'shop-eu' does not exist: declare \[tenants.shop-eu\]"):
        create_app(settings)


async def test_tenants_share_the_connections_and_the_group_commit(redis_url: str) -> None:
    store = Store(Settings(redis_url=redis_url))
    shop = store.of(SHOP)
    assert shop.database is store.database
    assert shop.of(DEFAULT_TENANT).database is store.database
    assert store.of(DEFAULT_TENANT) is store
    await store.close()
