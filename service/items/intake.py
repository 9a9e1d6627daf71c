"""A picture's way in: fetched, checked and encoded again, stored."""

from dataclasses import dataclass
from typing import Literal

from service.errors import BadPicture, StateUnavailable
from service.items.check import Redrawn
from service.items.decoder import PictureDecoder
from service.items.fetch import PictureFetcher
from service.items.pictures import PictureStore
from service.items.schemas import ItemIn
from service.logs import get_logger
from service.metrics import Metrics

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Given:
    """What came of the picture that was given with an item.

    `stored`: `picture` is its hash, and `error` a warning if there is one. `refused`: `error` says why. `none`: taken
    away. `untouched`: not mentioned.
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
    """Takes pictures in."""

    def __init__(self, fetcher: PictureFetcher, decoder: PictureDecoder, store: PictureStore, metrics: Metrics) -> None:
        self._fetcher = fetcher
        self._decoder = decoder
        self._store = store
        self._metrics = metrics

    async def take(self, item: ItemIn) -> Given:
        """Store the item's picture, if it brings one; a bad one is an outcome, not an error.

        Raises:
            Overloaded: too many pictures wait to be decoded.
            StateUnavailable: the picture folder can't be written, or nothing decodes pictures.
        """
        if not brings_picture(item):
            return without_picture(item)
        try:
            drawn = await self._decoded(item)
        except BadPicture as error:
            self._metrics.pictures.labels(error.detail.partition(":")[0]).inc()
            return Given("refused", error=error.detail)
        try:
            picture = await self._store.write(drawn.content)
        except OSError as error:
            log.warning("picture_not_written", error=str(error)[:200])
            reason = error.strerror or type(error).__name__
            raise StateUnavailable(f"pictures can't be written: {reason}", retry_after_s=1.0) from error
        self._metrics.pictures.labels("stored_blank" if drawn.warning else "stored").inc()
        return Given("stored", picture, drawn.warning)

    async def _decoded(self, item: ItemIn) -> Redrawn:
        if item.image_base64 is not None:
            return await self._decoder.decode_base64(item.image_base64)
        return await self._decoder.decode(await self._fetcher.fetch_when_free(item.image_url or ""))
