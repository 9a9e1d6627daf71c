"""How many requests are answered at a time."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Overloaded
from service.http.asgi import OPEN_PATHS, refuse


class Admission:
    """Answers 429 when more requests than `limit` are in flight."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        if self.in_flight >= self.limit:
            await refuse(Overloaded("too many requests in flight", retry_after_s=1), scope, receive, send)
            return
        self.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_flight -= 1
