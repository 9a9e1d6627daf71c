"""The model store: immutable versions, and aliases that point at them.

    <root>/<name>/<version>/manifest.toml, prompts/, weights/, encoder/
    <root>/<name>/aliases.toml            every promotion and rollback

The root is a folder or any fsspec URL. A version exists once its manifest does, which is written last.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import tomli_w

from model_store.embedder_head import MAX_BYTES as HEAD_BYTES
from model_store.embedder_head import Head, HeadError
from model_store.item_models.item_model import MAX_BYTES, ItemModelError
from model_store.item_models.item_models import ITEM_MODELS, ItemModels
from model_store.prompts import PromptSet
from model_store.prompts.embed import EmbedPrompts
from model_store.registry.aliases import (
    CANARY,
    PRODUCTION,
    SHADOW,
    Histories,
    Promotion,
    current,
    parse_histories,
    stack,
)
from model_store.registry.files import StoreFiles
from model_store.registry.manifest import MANIFEST, NAME, Manifest, ManifestError, hash_files
from model_store.signals import Signals, Vocabulary

ALIASES = "aliases.toml"
Numbers = list[int]
_ALIAS = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
CACHE = Path.home() / ".cache" / "tastestream" / "models"


class Registry:
    """Lists, adds, finds and promotes model versions.

    Args:
        root: the store's folder or fsspec URL.
        cache: the folder for local copies of a remote store's files.
    """

    def __init__(self, root: str | Path, cache: Path = CACHE) -> None:
        self.root = str(root)
        self._files = StoreFiles(root, cache)

    def list(self) -> list[Manifest]:
        """All versions, by name and number."""
        return [self._manifest(name, number) for name in self._files.folders() for number in self.versions(name)]

    def versions(self, name: str) -> Numbers:
        """The numbers of all versions of `name`, ascending."""
        numbers = sorted(int(folder) for folder in self._files.folders(name) if folder.isdecimal())
        return [number for number in numbers if self._files.exists(f"{name}/{number}/{MANIFEST}")]

    def _known(self, name: str) -> Numbers:
        """The versions of a model.

        Raises:
            ManifestError: there is no such model.
        """
        if not (numbers := self.versions(name)):
            known = ", ".join(self._files.folders()) or "nothing"
            raise ManifestError(f"no model {name!r} in {self.root}; it has {known}")
        return numbers

    def get(self, reference: str) -> Manifest:
        """The version that `reference` names: `name@3`, `name@production` (an alias), or `name`.

        A bare name means its production version, or its newest if none was promoted.

        Raises:
            ManifestError: the version does not exist, or its prompts are not those it was registered with.
        """
        name, _, which = reference.partition("@")
        numbers = self._known(name)
        if which.isdecimal():
            number = int(which)
        else:
            number = self.aliases(name).get(which or PRODUCTION, 0 if which else numbers[-1])
        if number not in numbers:
            known = ", ".join([*map(str, numbers), *self.aliases(name)])
            raise ManifestError(f"no version {reference!r} in {self.root}; {name} has {known}")
        manifest = self._manifest(name, number)
        self._verify(manifest, self._local(manifest, "prompts"), manifest.prompts_sha256)
        return manifest

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
            ManifestError: it is missing, or not the one that was registered.
            HeadError: it is malformed.
        """
        if not manifest.head:
            return None
        path = self._path(manifest, manifest.head)
        if (size := path.stat().st_size) > HEAD_BYTES:
            raise HeadError(f"{path} has {size:,} bytes, more than {HEAD_BYTES:,}")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != manifest.head_sha256:
            raise ManifestError(f"{path} is not what {manifest.id} was registered with; restore it or add a version")
        return Head.parse(content, str(path))

    def write_head(self, name: str, version: int, head: Head) -> dict[str, str]:
        """Write the head of an embedder, before it is added; returns the fields of its manifest that name the file."""
        path, content = f"{name}/{version}/head.npz", head.dump()
        self._files.write(path, content)
        return {"head": path, "head_sha256": hashlib.sha256(content).hexdigest()}

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

    def _item_model(self, manifest: Manifest, name: str) -> Any:
        if not (where := getattr(manifest, name)):
            return None
        path = self._path(manifest, where)
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ItemModelError(f"{path} has {size:,} bytes, more than {MAX_BYTES:,}")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != getattr(manifest, f"{name}_sha256"):
            raise ManifestError(f"{path} is not what {manifest.id} was registered with; restore it or add a version")
        return ITEM_MODELS[name].parse(content, str(path))

    def write_item_models(self, name: str, version: int, item_models: ItemModels) -> dict[str, str]:
        """Write the item models of a version, before it is added.

        Returns:
            The fields of its manifest that name the files.

        Raises:
            ItemModelError: one is too large.
        """
        found: dict[str, str] = {}
        for field, one in item_models.present().items():
            path, content = f"{name}/{version}/{field}.safetensors", one.dump()
            self._files.write(path, content)
            found |= {field: path, f"{field}_sha256": hashlib.sha256(content).hexdigest()}
        return found

    def next_version(self, name: str) -> int:
        """The number that a new version of `name` gets, if no other command takes it first."""
        return max((int(folder) for folder in self._files.folders(name) if folder.isdecimal()), default=0) + 1

    def reserve(self, *names: str) -> int:
        """Take a number for a new version of each of `names`, before its files are written.

        No other command gets it, also if the version is never added. A remote store can't promise this: of two
        commands that add a version of one name to it at the same time, one may replace files of the other.

        Raises:
            ManifestError: one is no model's name.
        """
        for name in names:
            if not re.fullmatch(NAME, name):
                raise ManifestError(
                    f"{name!r} can't be a model's name: use up to 64 lower-case letters, digits, dots, _ and -, "
                    "the first a letter or a digit"
                )
        number = max(map(self.next_version, names))
        while not all(self._files.make_folder(f"{name}/{number}") for name in names):
            number += 1
        return number

    def add(
        self, manifest: Manifest, prompts: Path, weights: Path | None = None, *, encoder: Path | None = None
    ) -> Manifest:
        """Copy a new version into the store and return its manifest, with hashes. After a failure, its folder is gone.

        Args:
            manifest: with a number of `reserve`. Its `weights` must name those of another version when `weights` is
                None; their hash is checked if it has one.
            prompts: the folder of its prompt templates.
            weights: the folder of its checkpoint.
            encoder: the folder of what makes its soft tokens. A version with another's weights has that one's encoder.

        Raises:
            ManifestError: this version exists already, or its weights or its encoder can't be found, or were changed.
        """
        where = f"{manifest.name}/{manifest.version}"
        if self._files.exists(f"{where}/{MANIFEST}"):
            newer = self.next_version(manifest.name)
            raise ManifestError(f"{manifest.id} exists in {self.root} and never changes; add version {newer}")
        if (weights is None) == (manifest.weights == ""):
            raise ManifestError(f"{manifest.id} needs either a weights folder or the path of another version's weights")
        has_tokens = manifest.picture_tokens is not None
        if (encoder is not None) != (has_tokens and weights is not None):
            raise ManifestError(
                f"{manifest.id} needs an encoder folder if it has weights and picture tokens, else none"
            )
        try:
            return self._write_version(manifest, {"prompts": prompts, "weights": weights, "encoder": encoder})
        except BaseException:
            # Its number is not given again: no other command would replace what was copied.
            with suppress(Exception):
                self._files.remove(where)
            raise

    def aliases(self, name: str) -> dict[str, int]:
        """The version of each alias of `name`."""
        return {alias: promotion.version for alias, promotion in self.promotions(name).items()}

    def promotions(self, name: str) -> dict[str, Promotion]:
        """What each alias of `name` names, with its share and servers."""
        return current(self.histories(name))

    def standing(self, name: str) -> set[int]:
        """The versions that an alias of `name` names or can be rolled back to."""
        return {one.version for entries in self.histories(name).values() for one in stack(entries)}

    def promote(
        self, name: str, version: int, alias: str = PRODUCTION, *, share: float = 1.0, urls: Sequence[str] = ()
    ) -> Promotion:
        """Point `alias` at a version. A canary or shadow that becomes production ends as such.

        Args:
            share: 0..1, the users that a canary ranks for.
            urls: the servers of this version; by default, those that another alias names for it.

        Raises:
            ManifestError: the version does not exist, or the alias is no word.
        """
        if not _ALIAS.fullmatch(alias):
            raise ManifestError(f"an alias is a lower-case word, such as canary, not {alias!r}")
        self.get(f"{name}@{version}")
        with self._changing(name) as histories:
            named = current(histories)
            known = (other.urls for other in named.values() if other.version == version and other.urls)
            promotion = Promotion(version, share, tuple(urls) or next(known, ()))
            entries = {alias: {"action": "promote", **promotion.fields(alias)}}
            if alias == PRODUCTION:
                # Otherwise a later rollback of production would bring the canary back.
                ended = (other for other in (CANARY, SHADOW) if other in named and named[other].version == version)
                entries |= {other: {"action": "end"} for other in ended}
            self._record(name, histories, entries)
        return promotion

    def rollback(self, name: str, alias: str = PRODUCTION) -> int:
        """Undo the last promotion of `alias`, and return the version that it names then.

        Raises:
            ManifestError: there is no such model, or no earlier version.
        """
        self._known(name)
        with self._changing(name) as histories:
            standing = stack(histories.get(alias, []))
            if len(standing) < 2:
                raise ManifestError(f"{name}@{alias} in {self.root} has no earlier version to go back to")
            self._record(name, histories, {alias: {"action": "rollback", **standing[-2].fields(alias)}})
        return standing[-2].version

    def end(self, name: str, alias: str) -> int:
        """Take an alias away, and return the version that it named. Production can't be taken away.

        Raises:
            ManifestError: there is no such model or alias, or it is production.
        """
        self._known(name)
        if alias == PRODUCTION:
            raise ManifestError(f"{name}@{PRODUCTION} can't end: roll it back, or promote another version")
        with self._changing(name) as histories:
            if (named := current(histories).get(alias)) is None:
                raise ManifestError(f"{name} has no alias {alias!r} in {self.root}")
            self._record(name, histories, {alias: {"action": "end"}})
        return named.version

    def remove(self, manifest: Manifest) -> None:
        """Delete the files of a version, its manifest first: half a version does not exist."""
        where = f"{manifest.name}/{manifest.version}"
        self._files.remove(f"{where}/{MANIFEST}")
        self._files.remove(where)

    def size(self, manifest: Manifest) -> int:
        """Bytes of a version's own files."""
        return self._files.size(f"{manifest.name}/{manifest.version}")

    def write(self, path: str, content: bytes) -> None:
        """Write a file that belongs to a version, before the version is added."""
        self._files.write(path, content)

    @contextmanager
    def _changing(self, name: str) -> Iterator[Histories]:
        """The entries of each alias, while no other command on this machine changes them."""
        with self._files.locked(name):
            yield self.histories(name)

    def _record(self, name: str, histories: Histories, entries: Mapping[str, dict[str, Any]]) -> None:
        """Append one entry to each alias, in one write."""
        for alias, entry in entries.items():
            histories.setdefault(alias, []).append({**entry, "at": datetime.now(UTC).replace(microsecond=0)})
        self._files.write(f"{name}/{ALIASES}", tomli_w.dumps(histories).encode())

    def histories(self, name: str) -> Histories:
        """All entries of each alias of `name`; empty if it never had one. Reads one file.

        Raises:
            ManifestError: the file is malformed.
        """
        try:
            content = self._files.read(f"{name}/{ALIASES}")
        except FileNotFoundError:
            return {}
        return parse_histories(content, f"{self.root}/{name}/{ALIASES}")

    def _write_version(self, manifest: Manifest, parts: Mapping[str, Path | None]) -> Manifest:
        where = f"{manifest.name}/{manifest.version}"
        for part, folder in parts.items():
            # An interrupted command may have left files there, which the hash does not have.
            self._files.remove(f"{where}/{part}")
            if folder is not None:
                self._files.copy_in(folder, f"{where}/{part}")
        hashes = {
            f"{part}_sha256": hash_files(folder or self._local(manifest, part))
            for part, folder in parts.items()
            if part != "encoder" or manifest.picture_tokens is not None
        }
        for field, found in hashes.items():
            expected, part = getattr(manifest, field), field.removesuffix("_sha256")
            if parts[part] is None and expected and found != expected:
                raise ManifestError(f"{self._local(manifest, part)} was changed since it was registered; restore it")
        created = manifest.created or datetime.now(UTC).replace(microsecond=0)
        hashed = manifest.model_copy(update={"encoder_sha256": "", **hashes, "created": created})
        self._files.write(f"{where}/{MANIFEST}", hashed.dump().encode())
        return hashed

    def _manifest(self, name: str, number: int) -> Manifest:
        path = f"{name}/{number}/{MANIFEST}"
        manifest = Manifest.parse(self._files.read(path), f"{self.root}/{path}")
        if (manifest.name, manifest.version) != (name, number):
            raise ManifestError(f"{self.root}/{path} says that it is {manifest.id}")
        return manifest

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
