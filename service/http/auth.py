"""API keys."""

import hmac
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from model_store.errors import UserError
from service.errors import Unauthorized
from service.http.headers import header
from service.http.hosts import is_loopback
from service.http.problems import refuse
from service.settings import Settings

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""They need no API key."""
CALLER = "tastestream.caller"
"""In the scope: the index of the caller's API key, if keys are required."""


def read_keys(file: Path) -> list[str]:
    """The API keys in `file`, one per line; blank lines and lines that begin with # are ignored.

    Raises:
        UserError: there are none.
        OSError: the file can't be read.
    """
    lines = (line.strip() for line in file.read_text("utf-8").splitlines())
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise UserError(f"{file} contains no API key")
    return keys


def require_keys(settings: Settings) -> None:
    """Prevent a gateway that other machines can reach from starting without API keys by accident.

    Raises:
        UserError: `host` is not a loopback address, there are no keys, and `insecure` is not set.
    """
    if settings.api_keys_file is None and not settings.insecure and not is_loopback(settings.host):
        raise UserError(
            f"TASTESTREAM_HOST={settings.host} lets other machines in, and there are no API keys: anyone could read "
            "and delete users. Set TASTESTREAM_API_KEYS_FILE, or pass --insecure if the network is closed"
        )


class ApiKeys:
    """Requires `Authorization: Bearer` and one of the keys, which are compared in constant time."""

    def __init__(self, app: ASGIApp, keys: Iterable[str]) -> None:
        self.app = app
        self.digests = [sha256(key.encode()).digest() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Brokers ask for permission before they have a key, and responses to OPTIONS need no protection.
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
