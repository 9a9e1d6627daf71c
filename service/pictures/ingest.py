"""A picture's way in: checked and encoded again, stored."""

from typing import NamedTuple

from service.errors import BadPicture, StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.pictures.decoder import PictureDecoder
from service.pictures.reencode import Redrawn
from service.pictures.store import PictureStore

log = get_logger(__name__)


class Stored(NamedTuple):
    """A picture's content hash, and what is to be said of it."""

    picture: str
    warning: str | None


class PictureIngest:
    """Takes pictures in; what becomes of each is counted."""

    def __init__(self, decoder: PictureDecoder, store: PictureStore, metrics: Metrics) -> None:
        self._decoder = decoder
        self._store = store
        self._metrics = metrics

    async def take(self, encoded: bytes) -> Stored:
        """Check a picture and store it.

        Raises:
            BadPicture: it is not acceptable.
            Overloaded: too many pictures wait to be decoded.
            StateUnavailable: the picture folder can't be written, or nothing decodes pictures.
        """
        return await self._keep(await self._decoder.decode(encoded))

    async def take_base64(self, text: str) -> Stored:
        """The same for a picture in base64, or in a data URI."""
        return await self._keep(await self._decoder.decode_base64(text))

    def count_refused(self, error: BadPicture) -> None:
        """Count a picture that is given up."""
        self._metrics.pictures.labels(error.detail.partition(":")[0]).inc()

    async def _keep(self, drawn: Redrawn) -> Stored:
        try:
            picture = await self._store.write(drawn.content)
        except OSError as error:
            log.warning("picture_not_written", error=str(error)[:200])
            reason = error.strerror or type(error).__name__
            raise StateUnavailable(f"pictures can't be written: {reason}", retry_after_s=1.0) from error
        self._metrics.pictures.labels("stored_blank" if drawn.warning else "stored").inc()
        return Stored(picture, drawn.warning)
