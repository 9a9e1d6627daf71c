"""Who may call: API keys and their scopes."""

import hmac
import time
from collections.abc import Iterable, Iterator

from starlette.types import ASGIApp, Receive, Scope, Send

from model_store.errors import UserError
from service.api_keys import records
from service.api_keys.records import ADMIN, ApiKey
from service.errors import (
    KeyExpired,
    KeyMalformed,
    KeyMissing,
    KeyRevoked,
    KeyUnknown,
    ScopeMissing,
    TastestreamError,
)
from service.http.headers import header
from service.http.hosts import is_loopback
from service.http.problems import refuse
from service.http.rates import RateLimits
from service.settings import Settings

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""They need no API key."""
CALLER = "tastestream.caller"
"""In the scope: the caller's `ApiKey`, if keys are required."""
_SCOPES: dict[str, records.Scope] = {"events": "events", "recommend": "recommend", "items": "items", "users": "users"}
"""By the first segment of the path."""
_HOW = "send Authorization: Bearer and an API key"


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


def required_scope(path: str) -> records.Scope | None:
    """The scope that a request for `path` needs; None if it needs no key.

    Any other path needs `admin`, so that a new route is closed until it is listed here.
    """
    return None if path in OPEN_PATHS else _SCOPES.get(path.split("/", 2)[1] if "/" in path else "", ADMIN)


class KeyRing:
    """The keys in force. They are replaced as a whole when the file changes."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self.replace(keys)

    def __iter__(self) -> Iterator[ApiKey]:
        return iter(self._by_digest.values())

    def replace(self, keys: Iterable[ApiKey]) -> None:
        self._by_digest = {key.digest: key for key in keys}

    def authenticate(self, authorization: str) -> ApiKey:
        """The key in an `Authorization` header.

        Raises:
            Unauthorized: there is none, or it is not in force; the subclass says why.
        """
        if not authorization:
            raise KeyMissing(_HOW)
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise KeyMalformed(_HOW)
        digest = records.digest_of(token)
        key = self._by_digest.get(digest)
        # The time of the look-up depends only on a digest, from which no key can be computed; the comparison that
        # decides takes the same time for every digest.
        if key is None or not hmac.compare_digest(key.digest, digest):
            if records.is_damaged(token):
                raise KeyMalformed("this is not a whole API key; copy it again")
            raise KeyUnknown("no such API key")
        if key.revoked_s is not None:
            raise KeyRevoked("this API key was revoked")
        if key.expired(time.time()):
            raise KeyExpired("this API key has expired")
        return key


class ApiKeys:
    """Requires `Authorization: Bearer` and a key with the scope of the path, and limits the rate of its requests.

    Requests are refused before their body is read.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, rates: RateLimits) -> None:
        self.app = app
        self._ring = ring
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Brokers ask for permission before they have a key, and responses to OPTIONS need no protection.
        if scope["type"] == "http" and scope["method"] != "OPTIONS":
            needed = required_scope(scope["path"])
            if needed is not None:
                try:
                    self._admit(scope, needed)
                except TastestreamError as error:
                    await refuse(error, scope, receive, send)
                    return
        await self.app(scope, receive, send)

    def _admit(self, scope: Scope, needed: records.Scope) -> None:
        key = scope[CALLER] = self._ring.authenticate(header(scope, b"authorization"))
        if not key.allows(needed):
            raise ScopeMissing(f"this API key lacks the scope {needed!r}", extensions={"scope": needed})
        self._rates.take(key.caller, needed)
