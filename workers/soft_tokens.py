"""Soft tokens of pictures: read from their folder, or made by an encoder and stored there."""

import time
from collections.abc import Sequence

from model_store.registry.manifest import Manifest
from model_store.soft_tokens import BadSoftTokens
from service.metrics import Metrics
from service.pictures.encoders import Encoders, EncoderUnavailable, PictureRefused
from service.pictures.store import PictureStore
from service.pictures.tokens import TokenStore
from service.settings.engines import EncodedSettings
from workers.job import JobUnavailable, Resources, ServerUnavailable, WorkFailed

REFUSED = "picture_refused"


class EncoderAbsent(JobUnavailable):
    """No server has the encoder of a version."""


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
            ServerUnavailable: the encoder of this version does not answer.
            EncoderAbsent: no server has it.
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
        except EncoderUnavailable as error:
            outcome = "encoder_unavailable"
            if error.asked:
                raise ServerUnavailable(str(error), WorkFailed("encoder_failed", server_answered=False)) from error
            raise EncoderAbsent(str(error)) from error
        except PictureRefused as error:
            outcome = REFUSED
            raise WorkFailed(REFUSED, str(error)) from error
        finally:
            self._metrics.count_call("encoder", "encode", outcome, time.perf_counter() - started)


def open_soft_tokens(tenants: Sequence[Resources], model: EncodedSettings) -> list[SoftTokens]:
    """Those of each of `tenants`, which share the encoders of `model`; the worker closes them at its end."""
    worker = tenants[0]
    encoders = Encoders(model.encoder_urls, model.encoder_timeout_s)
    worker.on_exit.push_async_callback(encoders.close)
    tokens = TokenStore(worker.settings.picture_tokens_url, cached_bytes=0)
    return [
        SoftTokens(tenant.pictures, encoders, tokens.of(tenant.own_settings.picture_tokens_url), tenant.metrics)
        for tenant in tenants
    ]
