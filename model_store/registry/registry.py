"""The model store: immutable versions, and aliases that point at them.

    <root>/<name>/<version>/manifest.toml, prompts/, weights/, encoder/
    <root>/<name>/aliases.toml            every promotion and rollback

The root is a folder or any fsspec URL. A version exists once its manifest does, which is written last.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w

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
from model_store.registry.manifest import MANIFEST, NAME, Manifest, ManifestError, hash_files
from model_store.registry.version_files import VersionFiles

ALIASES = "aliases.toml"
Numbers = list[int]
_ALIAS = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


class Registry(VersionFiles):
    """Lists, adds, finds and promotes model versions. Their files: see `VersionFiles`.

    Args:
        root, cache: see `VersionFiles`.
    """

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
