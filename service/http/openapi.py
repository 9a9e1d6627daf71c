"""The OpenAPI page: what FastAPI derives from the routes, the bodies that are read raw, keys and limits."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.events.schemas import CloudEventIn, EventBatchIn, EventIn
from service.http.asgi import OPEN_PATHS
from service.http.problems import Problem
from service.items.schemas import ItemBatchIn, ItemIn, NamedItemIn
from service.recommend.schemas import RecommendIn
from service.settings import LimitSettings

_MODELS: tuple[type[BaseModel], ...] = (
    EventIn,
    EventBatchIn,
    CloudEventIn,
    ItemIn,
    NamedItemIn,
    ItemBatchIn,
    RecommendIn,
    Problem,
)


def install(app: FastAPI, limits: LimitSettings, *, keys: bool) -> None:
    """Give `app` its page; `keys` says whether callers need an API key."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app, limits, keys)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _describe(app: FastAPI, limits: LimitSettings, keys: bool) -> dict[str, Any]:
    page = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    _, definitions = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template="#/components/schemas/{model}"
    )
    schemas = page.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(definitions["$defs"])
    _set_limits(schemas, limits)
    if not keys:
        for methods in page["paths"].values():
            for operation in methods.values():
                operation["responses"].pop("401", None)
    else:
        page["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, methods in page["paths"].items():
            if path not in OPEN_PATHS:
                for operation in methods.values():
                    operation["security"] = [{"key": []}]
    return page


def _set_limits(schemas: dict[str, Any], limits: LimitSettings) -> None:
    """Write the limits that only the settings know into the schemas."""
    for name in ("ItemIn", "NamedItemIn", "CandidateIn"):
        fields = schemas[name]["properties"]
        _bound(fields["title"], "maxLength", limits.title_chars)
        _bound(fields["description"], "maxLength", limits.description_chars)
        for terms in (fields["genres"], fields["tags"]):
            _bound(terms, "maxItems", limits.terms)
            _bound(_of_value(terms)["items"], "maxLength", limits.term_chars)
    schemas["EventBatchIn"]["properties"]["events"]["maxItems"] = limits.batch_events
    schemas["ItemBatchIn"]["properties"]["items"]["maxItems"] = limits.bulk_items
    recommend = schemas["RecommendIn"]["properties"]
    _bound(recommend["k"], "maximum", limits.k)
    _bound(recommend["candidates"], "maxItems", limits.candidates)


def _bound(schema: dict[str, Any], key: str, limit: int) -> None:
    """Set `key` on the schema itself, or on the alternative that is not null."""
    _of_value(schema)[key] = limit


def _of_value(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or its alternative that is not null."""
    return next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
