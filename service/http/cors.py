"""CORS: which web pages may call this gateway from a browser (Fetch standard, CORS protocol)."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.headers import header

TRUSTED_ORIGIN = "tastestream.trusted_origin"
"""In the scope: whether the request is from an allowed page. `sendBeacon` sends such a page's body as `text/plain`."""


class Cors(CORSMiddleware):
    """Answers preflights, and lets pages of `origins` read responses; `*` stands for every origin."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "PUT", "DELETE"),
            allow_headers=("*",),
            expose_headers=("x-request-id", "retry-after", "traceresponse"),
            max_age=600,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            origin = header(scope, b"origin")
            scope[TRUSTED_ORIGIN] = bool(origin) and self.is_allowed_origin(origin)
        await super().__call__(scope, receive, send)
