"""Which servers the model store may name. No I/O."""

from collections.abc import Iterable
from urllib.parse import urlsplit


def is_allowed(url: str, patterns: Iterable[str]) -> bool:
    """Whether a URL is covered by one of `patterns`: `http://HOST`, for any port, or `http://HOST:PORT`.

    HOST may be `*.DOMAIN`, for all names below a domain. Paths, user names and queries are never allowed.
    """
    try:
        asked = urlsplit(url)
        port = asked.port
    except ValueError:
        return False
    if asked.path.strip("/") or asked.query or asked.fragment or "@" in asked.netloc or not asked.hostname:
        return False
    return any(_covers(pattern, asked.scheme, asked.hostname, port) for pattern in patterns)


def _covers(pattern: str, scheme: str, host: str, port: int | None) -> bool:
    allowed = urlsplit(pattern)
    name = allowed.hostname or ""
    same_host = host.endswith(name[1:]) if name.startswith("*.") else host == name
    return allowed.scheme == scheme and same_host and allowed.port in (None, port)
