"""Only a key that is in force, with the scope of the route, reaches a route."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.routing import Mount

from service.api_keys.records import SCOPES, ApiKey, Scope, digest_of, new_key
from service.http.auth import OPEN_PATHS, required_scope
from tests.service.conftest import Gateway, OpenGateway

EVENT = {"user_id": "u", "item_id": "i"}
NEEDED: dict[str, Scope | None] = {
    "/events": "events",
    "/recommend": "recommend",
    "/items": "items",
    "/items/{item_id}": "items",
    "/items/{item_id}/similar": "items",
    "/users/{user_id}": "users",
    "/healthz": None,
    "/readyz": None,
    "/metrics": None,
}
ADMIN_ONLY = {"/docs", "/docs/oauth2-redirect", "/openapi.json", "/static-offline-docs"}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def keys() -> dict[str, str]:
    """A key by its only scope, or by what is wrong with it."""
    return {name: new_key() for name in (*SCOPES, "expired", "expiring", "revoked")}


@pytest.fixture
async def locked(open_gateway: OpenGateway, tmp_path: Path, keys: dict[str, str]) -> AsyncIterator[Gateway]:
    def line(name: str) -> str:
        now_s = int(time.time())
        scopes: frozenset[Scope] = frozenset({name} & set(SCOPES) or SCOPES)  # type: ignore[arg-type]
        key = ApiKey(digest_of(keys[name]), name, "shop", scopes)
        times = {"expired": {"expires_s": now_s}, "expiring": {"expires_s": now_s + 3600}, "revoked": {"revoked_s": 1}}
        return replace(key, **times.get(name, {})).line()

    (tmp_path / "keys").write_text("\n".join(map(line, keys)))
    async with open_gateway(api_keys_file=tmp_path / "keys", tenants={"shop": {}}) as gateway:
        yield gateway


async def test_each_route_takes_a_key_with_its_scope_or_admin_and_no_other(
    locked: Gateway, keys: dict[str, str]
) -> None:
    openapi = locked.app.openapi()
    assert openapi["paths"].keys() == NEEDED.keys()
    tried = 0
    for path, methods in openapi["paths"].items():
        needed = NEEDED[path]
        for method in methods:
            for scope in SCOPES:
                address = path.replace("{item_id}", "i").replace("{user_id}", "u")
                answer = await locked.ask(method.upper(), address, headers=bearer(keys[scope]))
                tried += 1
                if needed is None or scope in (needed, "admin"):
                    assert answer.status_code not in (401, 403), (method, path, scope)
                else:
                    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), (method, path, scope)
                    assert answer.json()["scope"] == needed
                    assert repr(needed) in answer.json()["detail"]
                    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
    assert tried == 13 * len(SCOPES)


async def test_every_registered_route_has_a_known_scope(locked: Gateway) -> None:
    for route in locked.app.routes:
        path = getattr(route, "path", "")
        expected = "admin" if path in ADMIN_ONLY else NEEDED[path]
        assert required_scope(f"{path}/x" if isinstance(route, Mount) else path) == expected


@pytest.mark.parametrize("path", ["", "*", "/", "/new", "//users/u", "/Users/u", "/usersx", "/items%2Fi", "/metrics/"])
def test_a_path_that_is_not_listed_needs_admin(path: str) -> None:
    assert required_scope(path) == "admin"


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
async def test_health_and_metrics_are_open(locked: Gateway, path: str) -> None:
    assert (await locked.ask("GET", path)).status_code == 200


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "key_missing"),
        ("", "key_missing"),
        ("Bearer", "key_malformed"),
        ("Bearer ", "key_malformed"),
        ("Basic {events}", "key_malformed"),
        ("{events}", "key_malformed"),
        ("Bearer tastestream_short", "key_malformed"),
        ("Bearer {events}x", "key_malformed"),
        ("Bearer {events} x", "key_malformed"),
        ("Bearer wrong", "key_unknown"),
        ("Bearer {another}", "key_unknown"),
        ("Bearer {digest}", "key_unknown"),
        ("Bearer {expired}", "key_expired"),
        ("Bearer {revoked}", "key_revoked"),
    ],
)
async def test_without_a_key_in_force_every_request_is_a_401_that_says_why(
    locked: Gateway, keys: dict[str, str], header: str | None, code: str
) -> None:
    more = {"another": new_key(), "digest": digest_of(keys["events"]).hex()}
    headers = {} if header is None else {"authorization": header.format(**keys, **more)}
    for method, path in (("POST", "/events"), ("GET", "/users/u"), ("GET", "/nowhere"), ("GET", "/openapi.json")):
        answer = await locked.ask(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, code)
        challenge = "Bearer" if code == "key_missing" else 'Bearer error="invalid_token"'
        assert answer.headers["www-authenticate"] == challenge


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "Bearer  {} "])
@pytest.mark.parametrize("name", ["events", "expiring"])
async def test_requests_with_a_key_are_accepted(locked: Gateway, keys: dict[str, str], header: str, name: str) -> None:
    answer = await locked.ask("POST", "/events", EVENT, headers={"authorization": header.format(keys[name])})
    assert answer.status_code == 202


@pytest.mark.parametrize(("name", "status"), [("unknown", 401), ("users", 403)])
async def test_a_body_that_may_not_be_sent_is_not_read(
    locked: Gateway, keys: dict[str, str], name: str, status: int
) -> None:
    read = 0

    async def drops() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b" "

    headers = bearer(keys.get(name, "none"))
    assert (await locked.client.post("/events", content=drops(), headers=headers)).status_code == status
    assert read == 0


async def test_a_plain_key_of_an_earlier_version_has_all_scopes(open_gateway: OpenGateway, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# ours\n\nfirst-key\n", "utf-8")
    async with open_gateway(api_keys_file=tmp_path / "keys", tenants={"shop": {}}) as gateway:
        for path in ("/users/u", "/items", "/openapi.json"):
            assert (await gateway.ask("GET", path, headers=bearer("first-key"))).status_code == 200
        assert (await gateway.ask("GET", "/items", headers=bearer("# ours"))).status_code == 401
