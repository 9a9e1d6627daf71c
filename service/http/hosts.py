"""Which host names a gateway answers to.

A web page can have its own name resolve to a gateway's address (DNS rebinding). To the browser the gateway is then the
page's own server, and the page may read every answer. The name still stands in `Host`.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import UntrustedHost
from service.http.asgi import refuse
from service.http.headers import first_headers

_CACHED = 1024
_LONGEST_NAME = 253


class TrustedHosts:
    """Refuses requests for names other than `names`.

    Addresses, `localhost` and names without a dot are always answered. No web page can be served under those.

    Args:
        names: host names; `*.example.com` stands for all names below it, `*` for every name.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self.app = app
        self._names = frozenset(name.lower() for name in names)
        self._trusts = lru_cache(_CACHED)(self._check)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = first_headers(scope).get(b"host")
            if host and not self._trusts(host):
                name = hostname(host)[:_LONGEST_NAME]
                detail = f"this gateway does not answer to {name!r}; add the name to TASTESTREAM_TRUSTED_HOSTS"
                await refuse(UntrustedHost(detail), scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, host: bytes) -> bool:
        name = hostname(host)
        if "*" in self._names or name in self._names or is_local(name):
            return True
        parents = (name[at:] for at, letter in enumerate(name) if letter == ".")
        return any(f"*{parent}" in self._names for parent in parents)


def hostname(host: bytes) -> str:
    """The name or address in a `Host` header, in lower case, without port, brackets and final dot."""
    text = host.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def is_local(name: str) -> bool:
    """Whether `name` is an address, `localhost`, or a name without a dot."""
    if "." not in name or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` is reached from its own machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
