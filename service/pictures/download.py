"""Downloads many pictures into a local folder, politely and in any number of runs.

A picture is stored under the hash of its URL once it was fetched, decoded and re-encoded as the service does it. So
what is there is complete, and is not fetched again.
"""

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from model_store.errors import UserError
from service.errors import BadPicture, Overloaded, StateUnavailable
from service.pictures.decoder import PictureDecoder
from service.pictures.fetch import PictureFetcher
from service.pictures.resolver import HostUnavailable
from service.pictures.slots import HostBusy
from service.pictures.urls import parse
from service.settings.pictures import PictureSettings

ENDINGS = (".jpg", ".png")
_JPEG = b"\xff\xd8"
_BUSY_S = 0.5
_FAILURES_IN_A_ROW = 20
"""After so many pictures of a site that could not be had, one after the other, its further ones are not tried."""
_PARTIAL = ".partial-"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one URL: the name of its file, or why there is none. `fetched` is False if it was there before."""

    url: str
    name: str | None = None
    reason: str = ""
    fetched: bool = False


class PictureDownload:
    """Downloads pictures into `folder`.

    Args:
        settings: bounds of sizes, times and concurrency; all or only public addresses.
        attempts: per picture, where a later one may succeed.
        retry_s: the delay before the second attempt; it doubles with each further one.
    """

    def __init__(
        self,
        folder: Path,
        settings: PictureSettings,
        fetcher: PictureFetcher,
        decoder: PictureDecoder,
        *,
        attempts: int = 4,
        retry_s: float = 1.0,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._fetcher = fetcher
        self._decoder = decoder
        self._attempts = attempts
        self._retry_s = retry_s
        self._free = asyncio.Semaphore(settings.max_concurrent_fetches)

    async def run(self, urls: Iterable[str], done: Callable[[Outcome], None]) -> None:
        """Call `done` once for each distinct URL, in any order.

        Raises:
            UserError: the folder can't be written, or no process that decodes pictures can be started.
        """
        for left in self._folder.glob(f"{_PARTIAL}*"):
            left.unlink(missing_ok=True)
        sites: dict[str, deque[str]] = {}
        for url in dict.fromkeys(urls):
            if (name := self._stored(url)) is not None:
                done(Outcome(url, name))
                continue
            try:
                site = parse(url, self._settings).site
            except BadPicture as error:
                done(Outcome(url, reason=error.detail))
            else:
                sites.setdefault(site, deque()).append(url)
        lanes = self._settings.max_concurrent_fetches_per_site
        failed: ExceptionGroup[OSError | StateUnavailable] | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for waiting in sites.values():
                    shared = _Site(waiting)
                    for _ in range(min(lanes, len(waiting))):
                        group.create_task(self._lane(shared, done))
        except* (OSError, StateUnavailable) as errors:
            failed = errors
        # Not raised above: Python 3.11.2 would put it into a group.
        if failed is not None:
            raise UserError(f"pictures can't be stored in {self._folder}: {failed.exceptions[0]}") from failed

    def _stored(self, url: str) -> str | None:
        names = (_stem(url) + ending for ending in ENDINGS)
        return next((name for name in names if (self._folder / name).is_file()), None)

    async def _lane(self, site: "_Site", done: Callable[[Outcome], None]) -> None:
        while site.waiting:
            url = site.waiting.popleft()
            if site.failures >= _FAILURES_IN_A_ROW:
                done(Outcome(url, reason=f"site: not tried after {_FAILURES_IN_A_ROW} failures of its site in a row"))
                continue
            done(await self._one(url, site))

    async def _one(self, url: str, site: "_Site") -> Outcome:
        attempt = 0
        while True:
            try:
                content = await self._get(url, again=attempt > 0)
            except HostUnavailable as error:
                attempt += 1
                if attempt == self._attempts or site.failures >= _FAILURES_IN_A_ROW:
                    site.failures += 1
                    return Outcome(url, reason=error.detail)
                await asyncio.sleep(_jitter(self._retry_s * 2 ** (attempt - 1)))
            except BadPicture as error:
                # The site answered.
                site.failures = 0
                return Outcome(url, reason=error.detail)
            except (HostBusy, Overloaded):
                await asyncio.sleep(_jitter(_BUSY_S))
            else:
                site.failures = 0
                return Outcome(url, await asyncio.to_thread(self._write, url, content), fetched=True)

    async def _get(self, url: str, *, again: bool) -> bytes:
        async with self._free:
            return (await self._decoder.decode(await self._fetcher.fetch(url, again=again))).content

    def _write(self, url: str, content: bytes) -> str:
        name = _stem(url) + (".jpg" if content.startswith(_JPEG) else ".png")
        partial = self._folder / f"{_PARTIAL}{uuid4().hex}"
        try:
            partial.write_bytes(content)
            partial.replace(self._folder / name)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        return name


@dataclass(slots=True)
class _Site:
    """The URLs of one site that wait, and how many pictures could not be had since it last answered."""

    waiting: deque[str]
    failures: int = 0


def _jitter(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.5)


def _stem(url: str) -> str:
    return hashlib.sha256(url.encode(errors="replace")).hexdigest()[:32]
