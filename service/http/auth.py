"""Who may ask: API keys."""

import hmac
from collections.abc import Iterable
from hashlib import sha256

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Unauthorized
from service.http.asgi import CALLER, OPEN_PATHS, refuse
from service.http.headers import header


class ApiKeys:
    """Lets nobody in without `Authorization: Bearer` and one of the keys; compares in constant time."""

    def __init__(self, app: ASGIApp, keys: Iterable[str]) -> None:
        self.app = app
        self.digests = [sha256(key.encode()).digest() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Brokers ask for permission before they have a key; OPTIONS answers nothing that a key guards.
        open_to_all = scope["type"] != "http" or scope["path"] in OPEN_PATHS or scope["method"] == "OPTIONS"
        if open_to_all:
            await self.app(scope, receive, send)
        elif (key := self._find(scope)) is not None:
            scope[CALLER] = key
            await self.app(scope, receive, send)
        else:
            await refuse(Unauthorized("send Authorization: Bearer and an API key"), scope, receive, send)

    def _find(self, scope: Scope) -> int | None:
        scheme, _, token = header(scope, b"authorization").partition(" ")
        digest = sha256(token.strip().encode()).digest()
        known = [hmac.compare_digest(digest, one) for one in self.digests]
        return known.index(True) if scheme.lower() == "bearer" and any(known) else None
