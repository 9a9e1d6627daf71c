"""Web pages of allowed origins may call the gateway, others may not."""

from pathlib import Path

import pytest

from tests.service.conftest import OpenGateway

SHOP = "https://shop.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,authorization"}
EVENT = {"user_id": "u", "item_id": "i"}


async def test_a_preflight_of_an_allowed_page_needs_no_key(open_gateway: OpenGateway, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    async with open_gateway(cors_origins=SHOP, api_keys_file=keys) as gateway:
        answer = await gateway.ask("OPTIONS", "/events", headers={"origin": SHOP, **PREFLIGHT})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert "authorization" in answer.headers["access-control-allow-headers"].lower()
        sent = await gateway.ask("POST", "/events", EVENT, headers={"origin": SHOP, "authorization": "Bearer secret"})
        assert sent.status_code == 202
        assert sent.headers["access-control-allow-origin"] == SHOP
        assert "retry-after" in sent.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://shop.example", "null"])
async def test_another_page_is_refused(open_gateway: OpenGateway, origin: str) -> None:
    async with open_gateway(cors_origins=(SHOP,)) as gateway:
        preflight = await gateway.ask("OPTIONS", "/events", headers={"origin": origin, **PREFLIGHT})
        assert preflight.status_code == 400
        assert "access-control-allow-origin" not in preflight.headers
        read = await gateway.ask("GET", "/users/u", headers={"origin": origin})
        assert "access-control-allow-origin" not in read.headers


async def test_without_the_setting_every_page_is_refused(open_gateway: OpenGateway) -> None:
    async with open_gateway() as gateway:
        answer = await gateway.ask("OPTIONS", "/events", headers={"origin": SHOP, **PREFLIGHT})
        assert "access-control-allow-origin" not in answer.headers
