"""Soft tokens of pictures: read from their folder, or made by an encoder and stored there."""

import time

from model_store.registry.manifest import Manifest
from model_store.soft_tokens import BadSoftTokens
from service.metrics import Metrics
from service.pictures.encoders import Encoders, EncoderUnavailable, PictureRefused
from service.pictures.store import PictureStore
from service.pictures.tokens import TokenStore
from workers.job import JobUnavailable, WorkFailed

REFUSED = "picture_refused"


class SoftTokens:
    """
    Args:
        tokens: without a cache, so that what it finds is really in the folder.
    """

    def __init__(self, pictures: PictureStore, encoders: Encoders, tokens: TokenStore, metrics: Metrics) -> None:
        self._pictures, self._encoders, self._tokens, self._metrics = pictures, encoders, tokens, metrics

    async def of(self, version: Manifest, picture: str) -> bytes:
        """The tokens that the encoder of `version` makes of a stored picture; they are stored now.

        Raises:
            WorkFailed: the picture is missing, or the encoder refuses it (`REFUSED`).
            EncoderUnavailable: no encoder of this version answers.
            JobUnavailable: a folder can't be read or written, or the encoder makes wrong tokens.
        """
        try:
            found = (await self._tokens.read_many(version, [picture])).found
            if picture in found:
                return found[picture]
            content = await self._pictures.read(picture)
            if content is None:
                raise WorkFailed("picture_missing", server_answered=False)
            blob = await self._encode(version, content)
            await self._tokens.write(version, picture, blob)
            return blob
        except OSError as error:
            raise JobUnavailable(f"pictures or their tokens can't be read or written: {error}") from error
        except BadSoftTokens as error:
            raise JobUnavailable(f"the encoder of {version.id} makes wrong tokens: {error}") from error

    async def _encode(self, version: Manifest, content: bytes) -> bytes:
        started, outcome = time.perf_counter(), "cancelled"
        try:
            blob = await self._encoders.encode(version.encoder_id, content)
            outcome = "ok"
            return blob
        except EncoderUnavailable:
            outcome = "encoder_unavailable"
            raise
        except PictureRefused as error:
            outcome = REFUSED
            raise WorkFailed(REFUSED, str(error)) from error
        finally:
            self._metrics.count_call("encoder", "encode", outcome, time.perf_counter() - started)
