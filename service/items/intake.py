"""A picture's way in: fetched or decoded, checked, drawn anew, stored."""

import asyncio
import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Literal

from service.errors import BadPicture, StateUnavailable
from service.items.check import redraw
from service.items.fetch import PictureFetcher
from service.items.pictures import PictureStore
from service.items.schemas import ItemIn
from service.logs import get_logger
from service.metrics import Metrics
from service.settings import PictureSettings

log = get_logger(__name__)
_DRAWN_AT_ONCE = 2
"""Each may hold `max_pixels` decoded pixels."""


@dataclass(frozen=True, slots=True)
class Given:
    """What came of the picture that was given with an item.

    `stored`: `picture` is its hash. `refused`: `error` says why. `none`: taken away. `untouched`: not mentioned.
    """

    outcome: Literal["stored", "refused", "none", "untouched"]
    picture: str | None = None
    error: str | None = None


def brings_picture(item: ItemIn) -> bool:
    return item.image_url is not None or item.image_base64 is not None


def without_picture(item: ItemIn) -> Given:
    """What an item that brings no picture says of the one it has."""
    return Given("none" if item.model_fields_set & {"image_url", "image_base64"} else "untouched")


class PictureIntake:
    """Takes pictures in. Decoding happens off the event loop, a few at a time."""

    def __init__(
        self, settings: PictureSettings, fetcher: PictureFetcher, store: PictureStore, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._store = store
        self._metrics = metrics
        self._drawing = asyncio.Semaphore(_DRAWN_AT_ONCE)

    async def take(self, item: ItemIn) -> Given:
        """Store the item's picture, if it brings one; a bad one is an outcome, not an error.

        Raises:
            StateUnavailable: the picture folder can't be written.
        """
        if not brings_picture(item):
            return without_picture(item)
        try:
            encoded = await self._read(item)
            async with self._drawing:
                drawn = await asyncio.to_thread(redraw, encoded, self._settings)
        except BadPicture as error:
            self._metrics.pictures.labels(error.detail.partition(":")[0]).inc()
            return Given("refused", error=error.detail)
        try:
            picture = await self._store.write(drawn)
        except OSError as error:
            log.warning("picture_not_written", error=str(error)[:200])
            reason = error.strerror or type(error).__name__
            raise StateUnavailable(f"pictures can't be written: {reason}", retry_after_s=1.0) from error
        self._metrics.pictures.labels("stored").inc()
        return Given("stored", picture)

    async def _read(self, item: ItemIn) -> bytes:
        if item.image_base64 is None:
            return await self._fetcher.fetch(item.image_url or "")
        if len(item.image_base64) > 4 * (self._settings.max_bytes // 3 + 1):
            raise BadPicture(f"too_many_bytes: more than {self._settings.max_bytes}")
        try:
            return b64decode(item.image_base64, validate=True)
        except (binascii.Error, ValueError):
            raise BadPicture("base64: not base64") from None
