"""Registers a folder as a new version of a model: a checkpoint, or a version that was copied from another store."""

import hashlib
from pathlib import Path
from typing import Any

from model_store.item_models.item_models import ITEM_MODELS, ItemModels
from model_store.prompts import BUILT_IN, PromptSet
from model_store.registry.checkpoint import read_checkpoint, read_labels
from model_store.registry.manifest import (
    MANIFEST,
    Blend,
    Manifest,
    ManifestError,
    Probe,
    Role,
    Serving,
    Training,
    hash_files,
)
from model_store.registry.registry import Registry

_LONGEST_PROMPT = 2048
ITEM_MODEL_FIELDS = tuple(field for name in ITEM_MODELS for field in (name, f"{name}_sha256"))
"""The fields of a manifest that name the files of its item models."""
_TAKEN_OVER = ("prompt_recents", "picture", "blend", "signals", "cooccurrence", *ITEM_MODEL_FIELDS)


def register_checkpoint(
    registry: Registry,
    folder: Path,
    *,
    name: str,
    role: Role,
    prompts: str | None = None,
    like: Manifest | None = None,
    base: str = "",
    labels: tuple[str, str] = ("yes", "no"),
) -> Manifest:
    """Check a checkpoint folder and add it under the next free number.

    Args:
        prompts: a built-in prompt set (`compact`, `default`), or the path of a folder of templates; by default, those
            of `like`.
        like: a version whose prompts, picture size, blend, signals and limits are taken over.
        base: what the weights were fine-tuned from.
        labels: the tokens for yes and no, of a ranker.

    Raises:
        CheckpointError: the folder is not complete, or a label is no token.
        ManifestError: the prompts are missing, or can't be rendered.
    """
    checkpoint = read_checkpoint(folder)
    templates = _templates(registry, prompts, like)
    try:
        PromptSet(templates)
    except FileNotFoundError as error:
        raise ManifestError(f"{templates} is no prompt set: {error}") from None
    positions = min(_LONGEST_PROMPT, checkpoint.positions or _LONGEST_PROMPT)
    serving = like.serving if like else Serving(max_model_len=positions)
    scores = role == "ranker"
    serving = serving.model_copy(update={"architecture": checkpoint.scoring_architecture if scores else None})
    shared: dict[str, Any] = {field: getattr(like, field) for field in _TAKEN_OVER} if like else {}
    manifest = Manifest(
        name=name,
        version=registry.next_version(name),
        role=role,
        base=base,
        labels=read_labels(folder, *labels) if scores else None,
        serving=serving,
        training=Training(parameters=checkpoint.parameters),
        **shared,
    )
    numbered = manifest.model_copy(update={"version": registry.reserve(name)})
    return registry.add(numbered, templates, folder)


def register_version(registry: Registry, folder: Path, *, name: str | None = None) -> Manifest:
    """Add a version's folder (`manifest.toml`, `prompts/`, `weights/`, `encoder/`) under the next free number.

    Raises:
        ManifestError: a file is missing or was changed.
        CheckpointError: the weights are not complete.
    """
    manifest = Manifest.parse((folder / MANIFEST).read_text("utf-8"), str(folder / MANIFEST))
    shared = not (folder / "weights").is_dir()
    _check(registry, folder, manifest, shared=shared)
    chosen, files = name or manifest.name, _files(folder, manifest)
    number = registry.reserve(chosen)
    changed: dict[str, Any] = {"name": chosen, "version": number, "weights": manifest.weights if shared else ""}
    for field, content in files.items():
        changed[field] = f"{chosen}/{number}/{Path(getattr(manifest, field)).name}"
        registry.write(changed[field], content)
    copied = None if shared else folder / "weights"
    encoder = folder / "encoder" if manifest.picture_tokens and not shared else None
    return registry.add(manifest.model_copy(update=changed), folder / "prompts", copied, encoder=encoder)


def _check(registry: Registry, folder: Path, manifest: Manifest, *, shared: bool) -> None:
    """Check the folders of a version; `shared`: its weights are another's, and must be in the store."""
    parts = {"prompts": manifest.prompts_sha256}
    if not shared:
        parts["weights"] = manifest.weights_sha256
        if manifest.picture_tokens:
            parts["encoder"] = manifest.encoder_sha256
    for part, expected in parts.items():
        if not (folder / part).is_dir():
            raise ManifestError(f"{folder} has no folder {part}")
        if hash_files(folder / part) != expected:
            raise ManifestError(f"{folder / part} is not what {manifest.id} was registered with; copy it again")
    if not shared:
        read_checkpoint(folder / "weights")
        return
    # Another model may lie in this store where the version's weights lay in its own.
    registry.local_folder(manifest)
    if manifest.picture_tokens:
        registry.encoder_folder(manifest)


def _files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """The content of the version's own files, by the field of the manifest that names them."""
    found = {}
    titles = {"cooccurrence": "co-occurrence counts", "head": "head"} | {
        name: one.title for name, one in ITEM_MODELS.items()
    }
    for field, title in titles.items():
        if path := getattr(manifest, field):
            file = folder / Path(path).name
            if not file.is_file():
                raise ManifestError(f"{folder} has no {file.name}, the {title} of {manifest.id}")
            found[field] = file.read_bytes()
            expected = getattr(manifest, f"{field}_sha256", None)
            if expected is not None and hashlib.sha256(found[field]).hexdigest() != expected:
                raise ManifestError(f"the {title} in {folder} are not those of {manifest.id}; copy them again")
    return found


def _templates(registry: Registry, prompts: str | None, like: Manifest | None) -> Path:
    if prompts is None:
        if like is None:
            raise ManifestError("name the prompts: compact, default, a folder of templates, or a version to be like")
        return registry.prompts(like).folder
    built_in = sorted(folder.name for folder in BUILT_IN.iterdir() if (folder / "score.jinja").is_file())
    if prompts in built_in:
        return BUILT_IN / prompts
    if not Path(prompts).is_dir():
        raise ManifestError(f"no prompts {prompts!r}: neither a folder nor one of {', '.join(built_in)}")
    return Path(prompts)


def register_blend(
    registry: Registry,
    manifest: Manifest,
    blend: Blend,
    evaluation: dict[str, Any],
    item_models: ItemModels | None = None,
) -> Manifest:
    """Add a version with another blend, which shares all else with `manifest`, under the next free number.

    Args:
        item_models: those of the new version; it shares the ones that are None.

    Raises:
        ManifestError: the weights of `manifest` are missing.
    """
    changed = _sharing(registry, manifest) | {"blend": blend, "evaluation": evaluation}
    number = changed["version"]
    if item_models is not None:
        changed |= registry.write_item_models(manifest.name, number, item_models)
    return registry.add(manifest.model_copy(update=changed), registry.templates(manifest))


def register_probe(registry: Registry, manifest: Manifest, probe: Probe) -> Manifest:
    """Add a version with a probe, which shares all else with `manifest`, under the next free number.

    Raises:
        ManifestError: the weights of `manifest` are missing.
    """
    changed = _sharing(registry, manifest) | {"probe": probe}
    return registry.add(manifest.model_copy(update=changed), registry.templates(manifest))


def _sharing(registry: Registry, manifest: Manifest) -> dict[str, Any]:
    """What differs in the manifest of every version that shares the weights of another."""
    weights = manifest.weights or f"{manifest.name}/{manifest.version}/weights"
    return {"version": registry.reserve(manifest.name), "weights": weights, "created": None}
