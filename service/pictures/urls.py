"""Untrusted URLs of pictures."""

import re
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urljoin

import httpx

from service.errors import BadPicture
from service.settings.pictures import PictureSettings

_PORTS = {"http": 80, "https": 443}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
MAX_CHARS = 4096
"""The longest URL that a redirect may lead to. The schema of items bounds those in requests."""


class Target(NamedTuple):
    """A URL that may be fetched.

    `host` is ASCII: a name as it is looked up and sent to the server (IDNA 2008), or an address without brackets if
    `is_address`.
    """

    url: httpx.URL
    host: str
    port: int
    is_address: bool

    @property
    def site(self) -> str:
        """The owner of the host: roughly its registered domain. Only used to limit concurrency per owner."""
        labels = self.host.split(".")
        if self.is_address or len(labels) < 3:
            return self.host
        second_level = len(labels[-1]) == 2 and len(labels[-2]) <= 3
        return ".".join(labels[-3:] if second_level else labels[-2:])


def parse(text: str, settings: PictureSettings) -> Target:
    """Parse a URL.

    Raises:
        BadPicture: it must not be fetched, whatever its host resolves to; the detail begins with `url` or `port`.
    """
    try:
        url = httpx.URL(text)
        # Raises for an invalid name in ASCII form.
        _ = url.host
    except (httpx.InvalidURL, ValueError):
        raise BadPicture("url: not a URL") from None
    if url.scheme not in _PORTS or not url.raw_host:
        raise BadPicture("url: only http and https URLs with a host are fetched")
    if url.userinfo:
        raise BadPicture("url: must not hold a user name or password")
    port = _PORTS[url.scheme] if url.port is None else url.port
    if port >= 2**16:
        raise BadPicture("url: not a URL")
    if not settings.may_fetch_from(port):
        raise BadPicture(f"port: pictures are not fetched from port {port}")
    host, is_address = _host(url)
    return Target(url, host, port, is_address)


def join(target: Target, location: str, settings: PictureSettings) -> Target:
    """The target of a redirect from `target` to `location`.

    Raises:
        BadPicture: it must not be fetched.
    """
    try:
        joined = urljoin(str(target.url), location)
    except ValueError:
        raise BadPicture("redirects: to something that is not a URL") from None
    if len(joined) > MAX_CHARS:
        raise BadPicture(f"redirects: to a URL of more than {MAX_CHARS} characters")
    return parse(joined, settings)


def _host(url: httpx.URL) -> tuple[str, bool]:
    host = url.raw_host.decode("ascii").removesuffix(".")
    try:
        return str(ip_address(host)), True
    except ValueError:
        if not _NAME.fullmatch(host):
            raise BadPicture("url: its host is neither a name nor an address") from None
        return host, False
