"""The host names that a gateway answers to.

A web page can let its own name resolve to a gateway's address (DNS rebinding). The browser then takes the gateway for
the page's own server, and the page may read every response. `Host` still has the name.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import UntrustedHost
from service.http.headers import first_headers
from service.http.problems import refuse

_LONGEST_NAME = 253


class TrustedHosts:
    """Refuses requests for names other than `names`.

    Addresses, `localhost` and names without a dot are always accepted, because no web page can be served from them.

    Args:
        names: host names; `*.example.com` stands for all subdomains, `*` for every name.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self.app = app
        self._names = frozenset(name.lower() for name in names)
        self._trusts = lru_cache(1024)(self._check)

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
    """Whether a server that listens on `host` can be reached only from its own machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
