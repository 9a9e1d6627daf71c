"""Promises of the gateway's start."""

import subprocess
import sys

import pytest

from service.errors import NotReady
from tests.service.conftest import OpenGateway

HEAVY = ("torch", "transformers", "vllm", "workers")
PROGRAM = """
import sys
from service.app import create_app
from service.settings import Settings
create_app(Settings(redis_url="redis://127.0.0.1:1"))
print([name for name in {heavy} if name in sys.modules])
"""


def test_the_gateway_starts_without_the_heavy_packages() -> None:
    program = PROGRAM.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "[]\n"


async def test_two_gateways_share_nothing(open_gateway: OpenGateway) -> None:
    async with open_gateway() as one, open_gateway() as other:
        await one.ask("POST", "/events", {"user_id": "u", "item_id": "i"})
        assert one.count("tastestream_events_total", tenant="default", result="accepted") == 1
        assert other.count("tastestream_events_total", tenant="default", result="accepted") == 0
        assert one.store is not other.store


async def test_without_a_redis_url_it_does_not_start(open_gateway: OpenGateway) -> None:
    with pytest.raises(NotReady, match="TASTESTREAM_REDIS_URL"):
        async with open_gateway(redis_url=None):
            pass


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/events", "OPTIONS, POST"), ("DELETE", "/items", "GET, POST"), ("POST", "/items/i", "DELETE, GET, PUT")],
)
async def test_another_method_is_a_405_that_names_the_allowed_ones(
    open_gateway: OpenGateway, method: str, path: str, allow: str
) -> None:
    async with open_gateway() as gateway:
        answer = await gateway.ask(method, path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/", "/nowhere", "/events/", "/users", "/items/a/nothing"])
async def test_another_path_is_a_404_problem(open_gateway: OpenGateway, path: str) -> None:
    async with open_gateway() as gateway:
        answer = await gateway.ask("GET", path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert answer.headers["content-type"] == "application/problem+json"
