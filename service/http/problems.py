"""Errors as responses: RFC 9457 problems, the exception handlers, and their part of OpenAPI."""

import math
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from service.errors import (
    BodyTimeout,
    BodyTooLarge,
    ClientClosedRequest,
    InternalError,
    InvalidRequest,
    KeyExpired,
    KeyMalformed,
    KeyMissing,
    KeyRevoked,
    KeyUnknown,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    RateLimited,
    ScopeMissing,
    StateUnavailable,
    TastestreamError,
    Unauthorized,
    UnsupportedMedia,
    problem,
)
from service.http.wire import invalid

PROBLEM = "application/problem+json"
ERROR = "tastestream.error"
"""In the scope: the code of the error in the response."""
REASON = "tastestream.reason"
"""In the scope: the cause of the error, for the log only."""
KEY_ERRORS = (KeyMissing, KeyMalformed, KeyUnknown, KeyExpired, KeyRevoked, ScopeMissing, RateLimited)
"""The errors of every call that needs an API key."""
COMMON_ERRORS = (InvalidRequest, *KEY_ERRORS, Overloaded, StateUnavailable)
"""The errors of every call that reads or writes state."""
BODY_ERRORS = (MalformedBody, BodyTimeout, BodyTooLarge, UnsupportedMedia)
"""The further errors of a call with a body."""


class Problem(BaseModel):
    """An RFC 9457 problem. `code` is stable; `field` names the faulty field of the request."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None


def respond(error: TastestreamError) -> Response:
    """The response for `error`."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = error.challenge
    elif isinstance(error, ScopeMissing):
        headers["www-authenticate"] = 'Bearer error="insufficient_scope"'
    return Response(orjson.dumps(problem(error)), error.status, headers, PROBLEM)


async def refuse(error: TastestreamError, scope: Scope, receive: Receive, send: Send) -> None:
    """Send `error` from a middleware, and note its code for the metrics."""
    scope[ERROR] = error.code
    await respond(error)(scope, receive, send)


def documented(*errors: type[TastestreamError]) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that may raise `errors`."""
    statuses = dict.fromkeys(error.status for error in errors)
    return {status: _document([error for error in errors if error.status == status]) for status in statuses}


def _document(errors: list[type[TastestreamError]]) -> dict[str, Any]:
    examples = {one.code: {"summary": one.title, "value": problem(one(f"{one.title}: details"))} for one in errors}
    return {
        "description": ", ".join(error.title for error in errors),
        "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
    }


async def on_error(request: Request, error: Exception) -> Response:
    """The response for a TastestreamError, whose code and reason are noted for metrics and log."""
    assert isinstance(error, TastestreamError)  # noqa: S101
    request.scope[ERROR] = error.code
    if error.public_detail != error.detail:
        request.scope[REASON] = error.detail
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
    """The response for a caller that left: it is counted, but no one receives it."""
    return await on_error(request, ClientClosedRequest("the caller left while sending"))


def _methods(request: Request) -> set[str]:
    """The methods of all routes of the path."""
    routes = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in routes for method in getattr(route, "methods", None) or ()}


def install(app: FastAPI) -> None:
    """Turn every exception of the app's routes into a problem."""
    app.add_exception_handler(TastestreamError, on_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, on_disconnect)
