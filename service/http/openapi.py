"""The OpenAPI page: what FastAPI derives from the routes, plus the bodies that are read raw, keys and limits."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.http.auth import required_scope
from service.http.media import JSON
from service.http.problems import Problem

Bounds = Mapping[tuple[type[BaseModel], str], int]
"""The maximum of a number, or the most entries of an array, by model and field."""


def json_body(model: str, **examples: tuple[str, Any]) -> dict[str, Any]:
    """The description of a JSON body that a route reads raw: its model, and the summary and value of each example."""
    shown = {name: {"summary": summary, "value": value} for name, (summary, value) in examples.items()}
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{model}"}, "examples": shown}}
    return {"requestBody": {"required": True, "content": content}}


def install(app: FastAPI, models: Iterable[type[BaseModel]], bounds: Bounds, *, keys: bool) -> None:
    """Set the page of `app`.

    Args:
        models: the bodies that are read raw.
        bounds: the limits that come from settings; fixed ones are in the models.
        keys: whether callers need an API key.
    """
    app.openapi = cache(lambda: _describe(app, [*models, Problem], bounds, keys))  # type: ignore[method-assign]


def _describe(app: FastAPI, models: Iterable[type[BaseModel]], bounds: Bounds, keys: bool) -> dict[str, Any]:
    page = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas = page.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(definitions["$defs"])
    for (model, field), bound in bounds.items():
        schema = _of_value(schemas[model.__name__]["properties"][field])
        schema["maxItems" if schema["type"] == "array" else "maximum"] = bound
    if keys:
        page["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in page["paths"].items():
        for operation in methods.values():
            scope = required_scope(path)
            if not keys:
                for status in ("401", "403"):
                    operation["responses"].pop(status, None)
            elif scope is not None:
                operation["security"] = [{"key": [scope]}]
    return page


def _of_value(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or its alternative that is not null."""
    return next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
