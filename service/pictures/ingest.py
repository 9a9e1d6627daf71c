"""Checks, re-encodes and stores pictures; those given by URL are left to a worker."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from service.errors import BadPicture, StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.pictures.addresses import is_public
from service.pictures.decoder import PictureDecoder
from service.pictures.reencode import ReEncoded
from service.pictures.store import PictureStore
from service.pictures.urls import parse
from service.settings.pictures import PictureSettings

log = get_logger(__name__)


class Stored(NamedTuple):
    """The content hash of a picture, and a warning if one applies."""

    picture: str
    warning: str | None


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What happened to the picture of an item.

    `stored`: `picture` is its hash, `error` a warning or None. `pending`: a worker will fetch it from `url`. `refused`:
    `error` says why. `none`: the picture is to be removed. `untouched`: the request has no picture field.
    """

    outcome: Literal["stored", "pending", "refused", "none", "untouched"]
    picture: str | None = None
    error: str | None = None
    url: str | None = None


class PictureIngest:
    """Stores or refuses pictures, and counts the outcomes."""

    def __init__(
        self, settings: PictureSettings, decoder: PictureDecoder, store: PictureStore, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self._store = store
        self._metrics = metrics

    async def take(self, encoded: bytes) -> Stored:
        """Check a picture and store it.

        Raises:
            BadPicture: it is not acceptable.
            Overloaded: too many pictures wait to be decoded.
            StateUnavailable: the picture folder can't be written, or no decoder can be started.
        """
        return await self._keep(await self._decoder.decode(encoded))

    async def take_base64(self, text: str) -> IngestResult:
        """Check and store a picture in base64 or in a data URI; raises as `take`, but returns a bad one as refused."""
        try:
            stored = await self._keep(await self._decoder.decode_base64(text))
        except BadPicture as error:
            return self._refused(error)
        return IngestResult("stored", stored.picture, stored.warning)

    def take_url(self, url: str) -> IngestResult:
        """Check a URL as far as possible without network access; a worker fetches the picture."""
        try:
            target = parse(url, self._settings)
            if target.is_address and not (self._settings.allow_private_addresses or is_public(target.host)):
                raise BadPicture("private_address: the URL leads to an address that is not public")
        except BadPicture as error:
            return self._refused(error)
        return IngestResult("pending", url=url)

    def count_refused(self, error: BadPicture) -> None:
        """Count a picture as refused, by the word that its detail begins with."""
        self._metrics.pictures.labels(error.detail.partition(":")[0]).inc()

    def _refused(self, error: BadPicture) -> IngestResult:
        self.count_refused(error)
        return IngestResult("refused", error=error.detail)

    async def _keep(self, picture: ReEncoded) -> Stored:
        try:
            content_hash = await self._store.write(picture.content)
        except OSError as error:
            log.warning("picture_not_written", error=str(error)[:200])
            reason = error.strerror or type(error).__name__
            raise StateUnavailable(f"pictures can't be written: {reason}", retry_after_s=1.0) from error
        self._metrics.pictures.labels("stored_blank" if picture.warning else "stored").inc()
        return Stored(content_hash, picture.warning)
