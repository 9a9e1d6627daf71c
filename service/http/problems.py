"""Errors as answers: RFC 9457 problems, one handler table, and their page in OpenAPI."""

import math
from collections import defaultdict
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from service.errors import (
    BodyTimeout,
    BodyTooLarge,
    ClientClosedRequest,
    InternalError,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    StateUnavailable,
    TastestreamError,
    Unauthorized,
    UnsupportedMedia,
    problem,
)
from service.http.wire import invalid

PROBLEM = "application/problem+json"
COMMON_ERRORS = (InvalidRequest, Unauthorized, Overloaded, StateUnavailable)
"""What any call that reads or writes state may be answered with."""
BODY_ERRORS = (MalformedBody, BodyTimeout, BodyTooLarge, UnsupportedMedia)
"""What a call with a body may be answered with besides."""


class Problem(BaseModel):
    """An RFC 9457 problem. `code` is stable; `field` names what was wrong in the request."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    field: str | None = Field(None)


def respond(error: TastestreamError) -> Response:
    """The answer that says `error`."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return Response(orjson.dumps(problem(error)), error.status, headers, PROBLEM)


def documented(*errors: type[TastestreamError]) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that may answer with `errors`."""
    by_status: dict[int | str, list[type[TastestreamError]]] = defaultdict(list)
    for error in errors:
        by_status[error.status].append(error)
    return {status: _document(found) for status, found in by_status.items()}


def _document(errors: list[type[TastestreamError]]) -> dict[str, Any]:
    examples = {
        error.code: {"summary": error.title, "value": problem(error(f"{error.title}: what exactly"))}
        for error in errors
    }
    return {
        "description": ", ".join(error.title for error in errors),
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }


async def on_error(request: Request, error: Exception) -> Response:
    """The answer to a TastestreamError, whose code and reason are noted for metrics and log."""
    assert isinstance(error, TastestreamError)  # noqa: S101
    request.scope["tastestream.error"] = error.code
    if error.public_detail != error.detail:
        request.scope["tastestream.reason"] = error.detail
    return respond(error)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found = [{**one, "loc": one["loc"][1:]} for one in error.errors()]
    return await on_error(request, invalid(found))  # type: ignore[arg-type]


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == 404:
        return await on_error(request, NotFound("no such path"))
    if error.status_code == 405:
        response = await on_error(request, MethodNotAllowed(f"{request.method} is not for this path"))
        response.headers["allow"] = ", ".join(sorted(_methods(request)))
        return response
    if error.status_code < 500:
        return await on_error(request, InvalidRequest(str(error.detail)))
    return await on_error(request, InternalError("see the log"))


async def on_disconnect(request: Request, error: Exception) -> Response:
    """What is counted for a caller that left; nobody reads it."""
    return await on_error(request, ClientClosedRequest("the caller left while sending"))


def _methods(request: Request) -> set[str]:
    """What the path can be asked for, over all its routes."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found


def install(app: FastAPI) -> None:
    """Answer every exception of the app's routes with a problem."""
    app.add_exception_handler(TastestreamError, on_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, on_disconnect)
