"""Routes that bypass FastAPI's own layers."""

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import TastestreamError
from service.http.problems import on_disconnect, on_error


class PlainRoute(APIRoute):
    """A route that `PlainRoutes` serves; FastAPI only documents it.

    For the most frequent requests, because FastAPI's dependencies and exit stacks take longer than a small body. The
    path has no parameters, and the endpoint takes the request and returns the response.
    """


class PlainRoutes:
    """Serves the plain routes of `fastapi`, and turns errors into problems as FastAPI's handlers do."""

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
