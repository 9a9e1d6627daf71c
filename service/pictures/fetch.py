"""Fetching a picture from a URL that a stranger gave."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from ipaddress import ip_network

import httpx
from cachetools import LRUCache

from service.errors import BadPicture
from service.pictures.resolver import HostTrouble, Lookup, Resolver, look_up
from service.pictures.shares import Shares
from service.pictures.urls import Target, join, parse
from service.settings import PictureSettings

_HEADERS = {"accept": "image/*", "accept-encoding": "identity", "user-agent": "tastestream"}
_PASSING = frozenset({408, 425, 429})
_REMEMBERED = 1024
"""Sites that are known to answer."""
_MAX_REDIRECTS = 3
_PER_ADDRESS = 2
"""Times the slots of one site: several sites may share an address."""


class PictureFetcher:
    """Fetches pictures within the settings' bytes, time and redirects, from public addresses only.

    Sites that nothing came from lately have three quarters of the slots, and their second tries one quarter, so that
    however many dead hosts strangers name, those that are known to answer are asked, and new ones soon.

    Args:
        lookup: replaces the system's resolver in tests.
    """

    def __init__(self, settings: PictureSettings, *, lookup: Lookup = look_up) -> None:
        slots, per_site = settings.max_concurrent_fetches, settings.max_concurrent_fetches_per_site
        self._settings = settings
        self._sites = Shares(slots, per_site)
        self._unproven = Shares(max(1, slots * 3 // 4), per_site)
        self._retried = Shares(max(1, slots // 4), per_site)
        self._proven: LRUCache[str, bool] = LRUCache(_REMEMBERED)
        self._addresses = Shares(slots, _PER_ADDRESS * per_site)
        self._resolver = Resolver(2 * slots, per_site, allow_private=settings.allow_private_addresses, lookup=lookup)
        # Not a client: that would keep the cookies of strangers, for ever and for each other, and ask proxies, which
        # connect to an address that was not checked. No idle connections: they are pooled by address, and one made
        # for another name on it must not be used again.
        self._http = httpx.AsyncHTTPTransport(
            trust_env=False, limits=httpx.Limits(max_connections=slots, max_keepalive_connections=0)
        )
        self._timeouts = httpx.Timeout(settings.fetch_timeout_s).as_dict()

    async def close(self) -> None:
        await self._http.aclose()

    async def fetch(self, url: str, *, again: bool = False) -> bytes:
        """The bytes behind `url`; everything together may take `fetch_timeout_s`, less in a first try.

        Args:
            again: it was tried before.

        Raises:
            BadPicture: the URL, its address, its answer or the bytes' number is not acceptable; the detail
                begins with a stable word.
            HostTrouble: of these, what may pass by itself.
            HostBusy: its site's slots, or all, are taken.
        """
        target = parse(url, self._settings)
        most_s = self._settings.fetch_timeout_s
        if not again:
            most_s = min(most_s, self._settings.fetch_first_timeout_s)
        with self._slots(target.site, again):
            try:
                async with asyncio.timeout(most_s):
                    content = await self._follow(target)
            except TimeoutError:
                self._proven.pop(target.site, None)
                raise HostTrouble(f"timeout: not fetched within {most_s:g} s") from None
            except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
                self._proven.pop(target.site, None)
                raise HostTrouble(f"unreachable: {type(error).__name__}") from None
        self._proven[target.site] = True
        return content

    @contextmanager
    def _slots(self, site: str, again: bool) -> Iterator[None]:
        with ExitStack() as slots:
            slots.enter_context(self._sites.slot(site))
            if site not in self._proven:
                slots.enter_context(self._unproven.slot(site))
                if again:
                    slots.enter_context(self._retried.slot(site))
            yield

    async def _follow(self, target: Target) -> bytes:
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._get(target) as response:
                if not response.has_redirect_location:
                    return await self._read(response)
                target = join(target, response.headers["location"], self._settings)
        raise BadPicture(f"redirects: more than {_MAX_REDIRECTS}")

    @asynccontextmanager
    async def _get(self, target: Target) -> AsyncIterator[httpx.Response]:
        address = await self._resolver.resolve(target)
        with self._addresses.slot(_network(address)):
            request = httpx.Request(
                "GET",
                target.url.copy_with(host=address),
                headers={**_HEADERS, "host": target.url.netloc.decode("ascii")},
                extensions={"sni_hostname": target.host, "timeout": self._timeouts},
            )
            response = await self._http.handle_async_request(request)
            try:
                yield response
            finally:
                await response.aclose()

    async def _read(self, response: httpx.Response) -> bytes:
        if response.status_code != 200:
            passing = response.status_code >= 500 or response.status_code in _PASSING
            raise (HostTrouble if passing else BadPicture)(f"status: the server answered {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise BadPicture("encoding: the server sent it compressed")
        limit = self._settings.max_bytes
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > limit:
                raise BadPicture(f"too_many_bytes: more than {limit}")
        return bytes(content)


def _network(address: str) -> str:
    """Whom an address belongs to: of IPv6, a site has 2**64."""
    address = address.partition("%")[0]
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address
