"""The soft tokens of pictures for a ranker that can't see them, computed in this process when they are first needed."""

import asyncio
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from model_store.byte_cache import ByteCache
from model_store.pictures import UNREADABLE

if TYPE_CHECKING:
    from model_store.msr.parts.encoder import PictureEncoder

CACHED_BYTES = 256 * 2**20


class SoftTokens:
    """Encodes pictures with a version's encoder, one batch at a time, and caches the last used tokens.

    Args:
        folder: the version's encoder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encoder: PictureEncoder | None = None
        self._encoding = asyncio.Lock()
        self._cache: ByteCache[str, bytes] = ByteCache(CACHED_BYTES)

    async def of(self, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
        """The tokens of each picture, by item id, as the service stores them; without those that can't be read.

        Raises:
            PartError: the folder is no encoder.
        """
        async with self._encoding:
            found = {item_id: tokens for item_id in pictures if (tokens := self._cache.get(item_id)) is not None}
            missing = {item_id: picture for item_id, picture in pictures.items() if item_id not in found}
            fresh = await asyncio.to_thread(self._encode, missing) if missing else {}
            for item_id, tokens in fresh.items():
                self._cache.add(item_id, tokens)
            return found | fresh

    def _encode(self, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
        import torch

        from model_store.msr.parts.encoder import PictureEncoder

        if self._encoder is None:
            self._encoder = PictureEncoder.load(self._folder)
        readable = {item_id: picture for item_id, picture in pictures.items() if _is_picture(picture)}
        encoded = self._encoder.encode(list(readable.values()))
        blobs = {}
        for item_id, tokens in zip(readable, encoded, strict=True):
            out = io.BytesIO()
            # A copy: a row of a batch would be saved with all of it.
            torch.save(tokens.clone(), out)
            blobs[item_id] = out.getvalue()
        return blobs


def _is_picture(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except UNREADABLE:
        return False
    return True
