"""Fetches pictures from untrusted URLs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from ipaddress import ip_network

import httpx
from cachetools import LRUCache

from model_store.certificates import trusted
from service.errors import BadPicture
from service.pictures.resolver import HostUnavailable, Lookup, Resolver, look_up
from service.pictures.slots import Slots
from service.pictures.urls import Target, join, parse
from service.settings.pictures import PictureSettings

_HEADERS = {"accept": "image/*", "accept-encoding": "identity", "user-agent": "tastestream"}
_TEMPORARY_STATUS = frozenset({408, 425, 429})
_PROVEN_SITES = 1024
_MAX_REDIRECTS = 3
_SITES_PER_ADDRESS = 2
"""An address has the slots of this many sites, because several sites may share it."""


class PictureFetcher:
    """Fetches pictures within the bounds of the settings, from public addresses only.

    Sites without a recent success may use three quarters of the slots, and retries of these one quarter. So URLs of
    dead hosts, however many, hold up neither the sites that answered nor, for long, new sites.

    Args:
        lookup: replaces the system's resolver in tests.
    """

    def __init__(self, settings: PictureSettings, *, lookup: Lookup = look_up) -> None:
        slots, per_site = settings.max_concurrent_fetches, settings.max_concurrent_fetches_per_site
        self._settings = settings
        self._sites = Slots(slots, per_site)
        self._unproven = Slots(max(1, slots * 3 // 4), per_site)
        self._retried = Slots(max(1, slots // 4), per_site)
        self._proven: LRUCache[str, bool] = LRUCache(_PROVEN_SITES)
        self._addresses = Slots(slots, _SITES_PER_ADDRESS * per_site)
        self._resolver = Resolver(2 * slots, per_site, allow_private=settings.allow_private_addresses, lookup=lookup)
        # A transport instead of a client, which would keep cookies and use proxies of the environment; a proxy would
        # connect to an address that was not checked. No idle connections, because they are pooled by address: one
        # opened for another host name must not be reused.
        self._http = httpx.AsyncHTTPTransport(
            verify=trusted(),
            trust_env=False,
            limits=httpx.Limits(max_connections=slots, max_keepalive_connections=0),
        )
        self._timeouts = httpx.Timeout(settings.fetch_timeout_s).as_dict()

    async def close(self) -> None:
        await self._http.aclose()

    async def fetch(self, url: str, *, again: bool = False) -> bytes:
        """The bytes at `url`. All of it may take `fetch_timeout_s`, or `fetch_first_timeout_s` in a first attempt.

        Args:
            again: an attempt was made before.

        Raises:
            BadPicture: the URL, its address, the response or its size is not acceptable; the detail begins with a
                stable word.
            HostUnavailable: the same, where a later attempt may succeed.
            HostBusy: no slot is free, or none for this site.
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
                raise HostUnavailable(f"timeout: not fetched within {most_s:g} s") from None
            except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
                self._proven.pop(target.site, None)
                raise HostUnavailable(f"unreachable: {type(error).__name__}") from None
        self._proven[target.site] = True
        return content

    @contextmanager
    def _slots(self, site: str, again: bool) -> Iterator[None]:
        with ExitStack() as slots:
            slots.enter_context(self._sites.hold(site))
            if site not in self._proven:
                slots.enter_context(self._unproven.hold(site))
                if again:
                    slots.enter_context(self._retried.hold(site))
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
        with self._addresses.hold(_network(address)):
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
            temporary = response.status_code >= 500 or response.status_code in _TEMPORARY_STATUS
            raise (HostUnavailable if temporary else BadPicture)(f"status: the server answered {response.status_code}")
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
    """The network that an address counts for; a site with IPv6 has a /64 network."""
    address = address.partition("%")[0]
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address
