"""Soft tokens of pictures: files in a folder for each encoder, named by the hash of the picture.

Versions that share an encoder, such as those that differ in the blend only, share its tokens.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from model_store.byte_cache import ByteCache
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.soft_tokens import BadSoftTokens, check_soft_tokens
from service.logs import get_logger
from service.pictures.folders import open_folder
from service.pictures.store import HASH, PictureStore, file_name
from service.settings import Settings

log = get_logger(__name__)
_READERS, _WRITERS = 8, 4


class Tokens(NamedTuple):
    """What was found for some pictures: by picture, the tokens; and the pictures whose file has no such tokens."""

    found: dict[str, bytes]
    refused: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all folders share. `cache` has checked tokens by folder, encoder and picture."""

    reading: ThreadPoolExecutor
    writing: ThreadPoolExecutor
    cache: ByteCache[tuple[str, str, str], bytes]


class TokenStore:
    """Soft tokens by encoder and picture. What is not of the version's shape is never returned.

    Args:
        url: an fsspec URL or a local path; created if it is missing.
        cached_bytes: the memory for tokens that were read or written recently.
        shared: that of another folder, see `of`.
    """

    def __init__(self, url: str, *, cached_bytes: int = 64 * 1024 * 1024, shared: _Shared | None = None) -> None:
        self._url = url
        self._shared = shared or _Shared(
            ThreadPoolExecutor(_READERS, "read-tokens"),
            ThreadPoolExecutor(_WRITERS, "write-tokens"),
            ByteCache(cached_bytes),
        )

    def of(self, url: str) -> "TokenStore":
        """The store of another folder, with the same threads and the same memory for recent tokens."""
        return TokenStore(url, shared=self._shared)

    async def read_many(self, version: Manifest, pictures: Iterable[str]) -> Tokens:
        """The tokens of those pictures that have some, by the picture's hash.

        Raises:
            OSError: the folder can't be read.
        """
        wanted = {picture for picture in pictures if HASH.fullmatch(picture)}
        cache = self._shared.cache
        found = {
            picture: blob
            for picture in wanted
            if (blob := cache.get((self._url, version.encoder_id, picture))) is not None
        }
        missing = sorted(wanted - found.keys())
        if not missing:
            return Tokens(found, frozenset())
        loop = asyncio.get_running_loop()
        read = await loop.run_in_executor(self._shared.reading, self._read, version, missing)
        return Tokens(found | read.found, read.refused)

    async def write(self, version: Manifest, picture: str, blob: bytes) -> None:
        """Store the tokens of a picture, instead of those that it had.

        Raises:
            BadSoftTokens: they are not of the version's shape.
            OSError: the folder can't be written.
        """
        assert version.picture_tokens is not None, "a version without soft tokens"  # noqa: S101
        check_soft_tokens(blob, version.picture_tokens)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._shared.writing, self._write, version, picture, blob)
        self._shared.cache.add((self._url, version.encoder_id, picture), blob)

    def _read(self, version: Manifest, pictures: list[str]) -> Tokens:
        assert version.picture_tokens is not None, "a version without soft tokens"  # noqa: S101
        names = {file_name(picture): picture for picture in pictures}
        found, refused = {}, set[str]()
        for name, blob in open_folder(_folder(self._url, version), 0.0).read(list(names)).items():
            try:
                check_soft_tokens(blob, version.picture_tokens)
            except BadSoftTokens as error:
                log.warning("soft_tokens_refused", model=version.id, picture=names[name], error=str(error)[:200])
                refused.add(names[name])
            else:
                found[names[name]] = blob
                self._shared.cache.add((self._url, version.encoder_id, names[name]), blob)
        return Tokens(found, frozenset(refused))

    def _write(self, version: Manifest, picture: str, blob: bytes) -> None:
        folder, name = open_folder(_folder(self._url, version), 0.0), file_name(picture)
        # A file that exists would only be touched: in the folder of pictures a name stands for one content.
        folder.remove(name, 0.0)
        folder.write(name, blob)


def open_tokens(settings: Settings) -> TokenStore:
    """The store of soft tokens that the settings name; by default, a folder in that of the pictures."""
    return TokenStore(settings.picture_tokens_url, cached_bytes=settings.pictures.cached_bytes)


def token_folders(settings: Settings, pictures: PictureStore) -> list[PictureStore]:
    """The folders of a tenant's soft tokens, one for each encoder, to be swept like that of `pictures`.

    Raises:
        ManifestError: the model store has no such model.
    """
    name = (settings.ranker.version or "").partition("@")[0]
    if not name:
        return []
    registry = Registry(settings.models_root)
    versions = [registry.get(f"{name}@{number}") for number in registry.versions(name)]
    folders = {_folder(settings.picture_tokens_url, one) for one in versions if one.picture_tokens}
    return [pictures.of(folder) for folder in sorted(folders)]


def _folder(url: str, version: Manifest) -> str:
    return f"{url.rstrip('/')}/{version.encoder_id}"
