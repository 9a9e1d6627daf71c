"""Promises of the OpenAPI page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.app import create_app
from service.errors import (
    HeadersTimeout,
    HeadersTooLarge,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
)
from service.settings import Settings
from service.settings.limits import LimitSettings
from tests.service.conftest import Gateway

WIRE_TABLE = {
    "/events": {"post"},
    "/recommend": {"post"},
    "/items": {"get", "post"},
    "/items/{item_id}": {"put", "get", "delete"},
    "/items/{item_id}/similar": {"get"},
    "/users/{user_id}": {"get", "delete"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}


def page(**settings: Any) -> dict[str, Any]:
    return create_app(Settings(redis_url="redis://127.0.0.1:1", **settings)).openapi()


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return page()


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_page_has_exactly_the_documented_operations(openapi: dict[str, Any]) -> None:
    assert {path: set(methods) for path, methods in openapi["paths"].items()} == WIRE_TABLE


def test_every_reference_resolves(openapi: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in openapi["components"]["schemas"]}
    assert set(references(openapi)) <= known


def test_every_call_is_described_and_every_error_is_a_problem(openapi: dict[str, Any]) -> None:
    for path, method, operation in operations(openapi):
        assert operation["summary"], path
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert set(response["content"]) == {"application/problem+json"}, (path, method, status)
                for example in response["content"]["application/problem+json"]["examples"].values():
                    assert example["value"]["status"] == int(status)


async def test_every_example_is_accepted(gateway: Gateway) -> None:
    openapi = (await gateway.ask("GET", "/openapi.json")).json()
    tried = 0
    for path, method, operation in operations(openapi):
        for kind, body in operation.get("requestBody", {}).get("content", {}).items():
            lines = [body["example"]] if "example" in body else []
            for example in [*lines, *(one["value"] for one in body.get("examples", {}).values())]:
                content = example if lines else orjson.dumps(example)
                answer = await gateway.client.request(
                    method, path.replace("{item_id}", "i7"), content=content, headers={"content-type": kind}
                )
                assert answer.status_code < 300, (path, example, answer.text)
                tried += 1
    assert tried >= 10


def test_every_option_of_a_recommendation_has_an_example(openapi: dict[str, Any]) -> None:
    body = openapi["paths"]["/recommend"]["post"]["requestBody"]["content"]["application/json"]
    shown = set[str]().union(*(example["value"] for example in body["examples"].values()))
    for name, option in openapi["components"]["schemas"]["RecommendIn"]["properties"].items():
        assert name in shown or option.get("examples"), name


def test_only_path_parameters_have_examples(openapi: dict[str, Any]) -> None:
    """The interactive page sends every parameter that has an example, which would change the request."""
    for path, _, operation in operations(openapi):
        for parameter in operation.get("parameters", []):
            filled_in = bool(parameter.keys() & {"example", "examples"})
            assert filled_in == (parameter["in"] == "path"), (path, parameter["name"])


def test_errors_of_all_calls_are_in_the_description(openapi: dict[str, Any]) -> None:
    errors = (MalformedRequest, NotFound, MethodNotAllowed, HeadersTimeout, HeadersTooLarge, Overloaded, InternalError)
    for error in errors:
        assert f"`{error.code}` ({error.status})" in openapi["info"]["description"]


def test_limits_of_the_settings_are_in_the_page() -> None:
    schemas = page(limits=LimitSettings(max_k=7, candidates=8, batch_events=9))["components"]["schemas"]
    assert schemas["RecommendIn"]["properties"]["k"]["anyOf"][0]["maximum"] == 7
    assert schemas["RecommendIn"]["properties"]["candidates"]["anyOf"][0]["maxItems"] == 8
    assert schemas["EventBatchIn"]["properties"]["events"]["maxItems"] == 9


def test_operations_that_need_a_key_say_so_and_name_its_scope(tmp_path: Path, openapi: dict[str, Any]) -> None:
    (tmp_path / "keys").write_text("key\n")
    locked = page(api_keys_file=tmp_path / "keys")
    needed = {path: operation["security"] for path, _, operation in operations(locked) if "security" in operation}
    assert needed.keys() == WIRE_TABLE.keys() - {"/healthz", "/readyz", "/metrics"}
    assert needed["/items/{item_id}"] == [{"key": ["items"]}]
    for _, _, operation in operations(openapi):
        assert "security" not in operation
        assert not {"401", "403"} & operation["responses"].keys()
    for path, _, operation in operations(locked):
        assert ({"401", "403"} <= operation["responses"].keys()) is (path in needed)


async def test_the_interactive_page_is_served(gateway: Gateway) -> None:
    assert (await gateway.ask("GET", "/docs")).status_code == 200


async def test_the_interactive_page_loads_nothing_from_other_hosts(gateway: Gateway) -> None:
    docs = await gateway.client.get("/docs")
    assert docs.status_code == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', docs.text)
    assert sources
    for source in sources:
        assert source.startswith("/"), source
        assert (await gateway.client.get(source)).status_code == 200


def test_the_responses_for_brokers_and_sinks_are_described(openapi: dict[str, Any]) -> None:
    operation = openapi["paths"]["/events"]["post"]
    assert "content" not in operation["responses"]["204"]
    assert set(operation["responses"]["202"]["headers"]) == {"Retry-After"}
    assert "content" in operation["responses"]["202"]
    assert "Prefer" in {parameter["name"] for parameter in operation["parameters"]}
