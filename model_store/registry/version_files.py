"""What a version of the model store consists of: prompts, weights, encoder, and the files that its manifest names."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

from model_store.embedder_head import MAX_BYTES as HEAD_BYTES
from model_store.embedder_head import Head, HeadError
from model_store.errors import UserError
from model_store.item_models.item_model import MAX_BYTES as ITEM_MODEL_BYTES
from model_store.item_models.item_model import ItemModelError
from model_store.item_models.item_models import ITEM_MODELS, ItemModels
from model_store.prompts import PromptSet
from model_store.prompts.embed import EmbedPrompts
from model_store.registry.files import CACHE, StoreFiles
from model_store.registry.manifest import Manifest, ManifestError, hash_files
from model_store.signals import Signals, Vocabulary


class VersionFiles:
    """Reads and writes what belongs to a version, and refuses what was changed since it was registered.

    Args:
        root: the store's folder or fsspec URL.
        cache: the folder for local copies of a remote store's files.
    """

    def __init__(self, root: str | Path, cache: Path = CACHE) -> None:
        self.root = str(root)
        self._files = StoreFiles(root, cache)

    def prompts(self, manifest: Manifest, vocabulary: Vocabulary | None = None) -> PromptSet:
        """The prompts of a version; `vocabulary` overrides the version's own for the types that it names.

        Raises:
            ManifestError: it is an embedder, see `embed_prompts`.
        """
        if manifest.role == "embedder":
            raise ManifestError(f"{manifest.id} is an embedder: it neither ranks nor writes")
        signals = Signals(manifest.signals, vocabulary or Vocabulary())
        return PromptSet(
            self._local(manifest, "prompts"),
            signals=signals,
            words=manifest.signals.words,
            recents=manifest.prompt_recents,
        )

    def templates(self, manifest: Manifest) -> Path:
        """A local folder with the prompt templates of a version."""
        return self._local(manifest, "prompts")

    def embed_prompts(self, manifest: Manifest) -> EmbedPrompts:
        """The prompts of an embedder that reads hidden states.

        Raises:
            ManifestError: it is none.
        """
        if manifest.embedding is None or manifest.embedding.kind != "notellm2":
            raise ManifestError(f"{manifest.id} is no embedder with prompts")
        return EmbedPrompts(self._local(manifest, "prompts"), manifest.embedding.read_token)

    def head(self, manifest: Manifest) -> Head | None:
        """The head of an embedder; None if it needs none.

        Raises:
            ManifestError: it is missing, not the one that was registered, or has other shapes than the manifest says.
            HeadError: it is too large, or malformed.
        """
        if not manifest.head:
            return None
        content, path = self._registered(manifest, "head", HEAD_BYTES, HeadError)
        head = Head.parse(content, path)
        embedding, tokens = manifest.embedding, manifest.picture_tokens
        if embedding is not None and head.dimensions != embedding.dimensions:
            raise ManifestError(
                f"{path} makes {head.dimensions} numbers, and the manifest of {manifest.id} says {embedding.dimensions}"
            )
        if tokens is not None and head.hidden != tokens.width:
            raise ManifestError(
                f"{path} reads {head.hidden} numbers, and the picture tokens of {manifest.id} have {tokens.width}"
            )
        return head

    def write_head(self, name: str, version: int, head: Head) -> dict[str, str]:
        """Write the head of an embedder, before it is added; returns the fields of its manifest that name the file."""
        return self._write(name, version, "head", "npz", head.dump())

    def local_folder(self, manifest: Manifest) -> Path:
        """A local folder with the weights of a version, as vLLM and transformers load them.

        Raises:
            ManifestError: the weights are missing, or not those that were registered.
        """
        folder = self._local(manifest, "weights")
        self._verify(manifest, folder, manifest.weights_sha256)
        return folder

    def encoder_folder(self, manifest: Manifest) -> Path:
        """A local folder with what turns pictures into the version's soft tokens.

        Raises:
            ManifestError: the version has no soft tokens, or its encoder is missing or not the one that was registered.
        """
        if manifest.picture_tokens is None:
            raise ManifestError(f"{manifest.id} has no picture tokens, and so no encoder")
        folder = self._local(manifest, "encoder")
        self._verify(manifest, folder, manifest.encoder_sha256)
        return folder

    def cooccurrence(self, manifest: Manifest) -> Path | None:
        """A local copy of the version's co-occurrence file, if it has one."""
        return self._path(manifest, manifest.cooccurrence) if manifest.cooccurrence else None

    def item_models(self, manifest: Manifest) -> ItemModels:
        """The item models that the version has.

        Raises:
            ManifestError: a file is missing, or not the one that was registered.
            ItemModelError: it is too large, or malformed.
        """
        return ItemModels(**{name: self._item_model(manifest, name) for name in ITEM_MODELS})

    def write_item_models(self, name: str, version: int, item_models: ItemModels) -> dict[str, str]:
        """Write the item models of a version, before it is added.

        Returns:
            The fields of its manifest that name the files.

        Raises:
            ItemModelError: one is too large.
        """
        found: dict[str, str] = {}
        for field, one in item_models.present().items():
            found |= self._write(name, version, field, "safetensors", one.dump())
        return found

    def write(self, path: str, content: bytes) -> None:
        """Write a file that belongs to a version, before the version is added."""
        self._files.write(path, content)

    def _item_model(self, manifest: Manifest, name: str) -> Any:
        if not getattr(manifest, name):
            return None
        content, path = self._registered(manifest, name, ITEM_MODEL_BYTES, ItemModelError)
        return ITEM_MODELS[name].parse(content, path)

    def _write(self, name: str, version: int, field: str, suffix: str, content: bytes) -> dict[str, str]:
        path = f"{name}/{version}/{field}.{suffix}"
        self._files.write(path, content)
        return {field: path, f"{field}_sha256": hashlib.sha256(content).hexdigest()}

    def _registered(self, manifest: Manifest, field: str, most: int, too_large: type[UserError]) -> tuple[bytes, str]:
        """The content of the file that `field` of the manifest names, of at most `most` bytes, and its path."""
        path = self._path(manifest, getattr(manifest, field))
        if (size := path.stat().st_size) > most:
            raise too_large(f"{path} has {size:,} bytes, more than {most:,}")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != getattr(manifest, f"{field}_sha256"):
            raise ManifestError(f"{path} is not what {manifest.id} was registered with; restore it or add a version")
        return content, str(path)

    def _local(self, manifest: Manifest, part: str) -> Path:
        path = f"{manifest.name}/{manifest.version}/{part}"
        if manifest.weights and part == "weights":
            path = manifest.weights
        elif manifest.weights and part == "encoder":
            path = str(PurePosixPath(manifest.weights).with_name("encoder"))
        return self._path(manifest, path)

    def _path(self, manifest: Manifest, path: str) -> Path:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            raise ManifestError(f"{manifest.id} points outside the store: {path}")
        try:
            return self._files.local(path)
        except FileNotFoundError:
            raise ManifestError(f"{manifest.id} lacks {self.root}/{path}") from None

    def _verify(self, manifest: Manifest, folder: Path, expected: str) -> None:
        if hash_files(folder) != expected:
            raise ManifestError(f"{folder} is not what {manifest.id} was registered with; restore it or add a version")
