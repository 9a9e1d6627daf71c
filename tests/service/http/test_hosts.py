"""A gateway without API keys accepts only its own names, which protects it from DNS rebinding."""

from pathlib import Path
from typing import Any

import pytest

from model_store.errors import UserError
from service.http.auth import require_keys
from service.http.hosts import hostname, is_loopback
from service.settings import Settings
from tests.service.conftest import Gateway, OpenGateway


async def asked_as(gateway: Gateway, host: str, **more: Any) -> int:
    return (await gateway.ask("GET", "/users/u", headers={"host": host, **more})).status_code


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "app.localhost", "127.0.0.1:8000", "10.1.2.3", "[::1]:8000", "gateway:80"]
)
async def test_addresses_and_names_that_no_page_can_have_are_accepted(gateway: Gateway, host: str) -> None:
    assert await asked_as(gateway, host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example."]
)
async def test_another_name_is_refused_and_counted(gateway: Gateway, host: str) -> None:
    answer = await gateway.ask("GET", "/users/u", headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "untrusted_host")
    assert "TASTESTREAM_TRUSTED_HOSTS" in answer.json()["detail"]
    assert gateway.count("tastestream_errors_total", code="untrusted_host") == 1


async def test_trusted_names_are_accepted_and_with_a_star_their_subdomains(open_gateway: OpenGateway) -> None:
    async with open_gateway(trusted_hosts="api.example.com, *.shop.example") as gateway:
        assert await asked_as(gateway, "api.example.com") == 200
        assert await asked_as(gateway, "a.b.shop.example:8000") == 200
        assert await asked_as(gateway, "shop.example") == 421
        assert await asked_as(gateway, "badshop.example") == 421


async def test_with_keys_any_name_is_accepted_unless_names_are_set(open_gateway: OpenGateway, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    key = {"authorization": "Bearer secret"}
    async with open_gateway(api_keys_file=keys) as gateway:
        assert await asked_as(gateway, "api.example.com", **key) == 200
    async with open_gateway(api_keys_file=keys, trusted_hosts=("api.example.com",)) as gateway:
        assert await asked_as(gateway, "api.example.com", **key) == 200
        assert await asked_as(gateway, "evil.example", **key) == 421


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.5", "gateway.internal"])
def test_other_machines_are_not_served_without_keys_by_accident(host: str) -> None:
    with pytest.raises(UserError, match="--insecure"):
        require_keys(Settings(host=host))


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "127.0.0.1"},
        {"host": "::1"},
        {"host": "localhost"},
        {"host": "0.0.0.0", "insecure": True},
        {"host": "0.0.0.0", "api_keys_file": Path("keys")},
    ],
)
def test_loopback_needs_no_keys_and_other_addresses_need_keys_or_insecure(settings: dict[str, Any]) -> None:
    require_keys(Settings(**settings))


@pytest.mark.parametrize(
    ("header", "name"), [(b"A.Example.:80", "a.example"), (b"[2001:DB8::1]:80", "2001:db8::1"), (b"h", "h")]
)
def test_a_host_header_without_its_port(header: bytes, name: str) -> None:
    assert hostname(header) == name


def test_loopback_addresses_are_recognized() -> None:
    assert [is_loopback(host) for host in ("127.5.0.1", "::1", "LocalHost", "0.0.0.0", "example")] == [
        *(True, True, True),
        *(False, False),
    ]
