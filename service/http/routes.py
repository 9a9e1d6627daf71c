"""Routes that answer for themselves."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.routing import request_response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import TastestreamError
from service.http.problems import on_disconnect, on_error


class PlainRoute(APIRoute):
    """FastAPI writes its page, Starlette serves it: the endpoint takes the request and gives the answer.

    For the routes that are asked most: FastAPI's dependencies and exit stacks take longer than a small body. Its path
    has no parameters.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = request_response(endpoint)


class PlainRoutes:
    """Answers requests for the plain routes of `fastapi` before its layers, which would find them, too, but later.

    Errors become problems here as they do there.
    """

    def __init__(self, app: ASGIApp, fastapi: FastAPI) -> None:
        self.app = app
        plain = [route for route in fastapi.routes if isinstance(route, PlainRoute)]
        self._routes = {(method, route.path): route for route in plain for method in route.methods}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            response = await route.endpoint(request)
        except TastestreamError as error:
            response = await on_error(request, error)
        except ClientDisconnect as error:
            response = await on_disconnect(request, error)
        await response(scope, receive, send)
