"""Loads the encoder of a model version and serves it until SIGTERM or SIGINT."""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import uvicorn

from model_store.pictures import UNREADABLE
from model_store.registry.manifest import Manifest, ManifestError
from model_store.registry.registry import Registry
from model_store.soft_tokens import BadSoftTokens, check_soft_tokens, join_feature
from service import logs
from service.encoder.batching import Encode, Unreadable
from service.encoder.server import create_encoder_app
from service.metrics import Metrics
from service.settings import Settings

_DRAIN_S = 10
_MAX_PIXELS = 20_000_000
"""Stored pictures are far smaller."""
_FAILED = 3


def run_encoder(settings: Settings, registry: Registry, manifest: Manifest) -> None:
    """Serve the encoder of a version.

    Raises:
        ManifestError: the version has no encoder.
        UserError: its folder is none.
    """
    logs.configure(json=settings.log_json)
    encode = load(registry, manifest)
    given = settings.encoder
    config = uvicorn.Config(
        create_encoder_app(manifest, encode, given, Metrics()),
        host=given.host,
        port=given.port,
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_S,
        limit_concurrency=4 * given.max_waiting,
    )
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(_FAILED)


def load(registry: Registry, manifest: Manifest) -> Encode:
    """What encodes pictures for a version, in float32 on this machine's processors.

    It encodes one blank picture first: an encoder of another shape is refused before it serves.
    """
    import torch
    from PIL import Image

    from model_store.msr.parts.encoder import PictureEncoder
    from model_store.notellm2.encoder import FeatureEncoder

    # More threads than free processors compete by spinning.
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    Image.MAX_IMAGE_PIXELS = _MAX_PIXELS
    folder = registry.encoder_folder(manifest)
    featured = manifest.picture_tokens is not None and manifest.picture_tokens.feature
    encoder = FeatureEncoder.load(folder) if featured else PictureEncoder.load(folder)

    def encode(pictures: Sequence[bytes]) -> list[bytes]:
        try:
            found = encoder.encode(pictures)
        except UNREADABLE as error:
            raise Unreadable(f"a picture can't be decoded: {error}") from error
        if not isinstance(found, tuple):
            return [_saved(one) for one in found]
        tokens, features = found
        pairs = zip(tokens, features[:, None], strict=True)
        return [join_feature(_saved(some), _saved(feature)) for some, feature in pairs]

    def _saved(tensor: torch.Tensor) -> bytes:
        out = io.BytesIO()
        # A copy: a row alone would be saved with the whole batch behind it.
        torch.save(tensor.detach().float().cpu().clone(), out)
        return out.getvalue()

    shape = manifest.picture_tokens
    if shape is not None:
        blank = io.BytesIO()
        Image.new("RGB", (64, 64), "white").save(blank, format="PNG")
        try:
            check_soft_tokens(encode([blank.getvalue()])[0], shape)
        except BadSoftTokens as error:
            raise ManifestError(f"the encoder of {manifest.id} is another model's: {error}") from None
    return encode
