"""Browser callers: which web pages may call this gateway (Fetch standard, CORS protocol)."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

TRUSTED_ORIGIN = "tastestream.trusted_origin"
"""Set in the scope of a request from an allowed page: its body may come as `text/plain`, as `sendBeacon` sends it."""

_METHODS = ("GET", "POST", "PUT", "DELETE")
_EXPOSED = ("x-request-id", "retry-after")
_PREFLIGHT_AGE_S = 600


class Cors(CORSMiddleware):
    """Answers preflights, and lets pages of `origins` read answers; `*` stands for every page."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=("*",),
            expose_headers=_EXPOSED,
            max_age=_PREFLIGHT_AGE_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            origin = next((value for key, value in scope["headers"] if key == b"origin"), None)
            scope[TRUSTED_ORIGIN] = origin is not None and self.is_allowed_origin(origin.decode("latin-1"))
        await super().__call__(scope, receive, send)
