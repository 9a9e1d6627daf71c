"""Fetching a picture from a URL that a stranger gave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from service.errors import BadPicture
from service.items.addresses import resolve
from service.settings import PictureSettings

_PORTS = {"http": 80, "https": 443}
_HEADERS = {"accept": "image/*", "accept-encoding": "identity", "user-agent": "tastestream"}


class PictureFetcher:
    """Fetches pictures within the settings' bytes, time and redirects, from public addresses only."""

    def __init__(self, settings: PictureSettings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.fetch_concurrency)
        self._http = httpx.AsyncClient(
            # No proxies: they would connect to an address that was not checked. No idle connections: they are
            # pooled by address, and one made for another name on it must not be used again.
            trust_env=False,
            limits=httpx.Limits(max_connections=settings.fetch_concurrency, max_keepalive_connections=0),
            timeout=settings.fetch_timeout_s,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def fetch(self, url: str) -> bytes:
        """The bytes behind `url`.

        Raises:
            BadPicture: the URL, its address, its answer or the bytes' number is not acceptable; the detail
                begins with a stable word.
        """
        async with self._slots:
            try:
                async with asyncio.timeout(self._settings.fetch_timeout_s):
                    return await self._follow(_parse(url))
            except TimeoutError:
                raise BadPicture(f"timeout: not fetched within {self._settings.fetch_timeout_s:g} s") from None
            except httpx.HTTPError as error:
                raise BadPicture(f"unreachable: {type(error).__name__}") from None

    async def _follow(self, url: httpx.URL) -> bytes:
        for _ in range(self._settings.fetch_redirects + 1):
            async with self._get(url) as response:
                if not response.is_redirect:
                    return await self._read(response)
                url = _parse(_join(url, response.headers["location"]))
        raise BadPicture(f"redirects: more than {self._settings.fetch_redirects}")

    @asynccontextmanager
    async def _get(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        port = url.port or _PORTS[url.scheme]
        address = await resolve(url.host, port, allow_private=self._settings.allow_private_addresses)
        request = self._http.build_request(
            "GET",
            url.copy_with(host=address),
            headers={**_HEADERS, "host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        response = await self._http.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response) -> bytes:
        if response.status_code != 200:
            raise BadPicture(f"status: the server answered {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise BadPicture("encoding: the server sent it compressed")
        limit = self._settings.max_bytes
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > limit:
                raise BadPicture(f"too_many_bytes: more than {limit}")
        return bytes(content)


def _parse(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError):
        raise BadPicture("url: not a URL") from None
    if url.scheme not in _PORTS or not url.host or (url.port or 1) >= 2**16:
        raise BadPicture("url: only http and https URLs with a host are fetched")
    if url.userinfo:
        raise BadPicture("url: must not hold a user name or password")
    return url


def _join(url: httpx.URL, location: str) -> str:
    try:
        return str(url.join(location))
    except (httpx.InvalidURL, UnicodeError):
        raise BadPicture("redirects: to something that is not a URL") from None
