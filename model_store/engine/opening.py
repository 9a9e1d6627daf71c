"""An `Engine` from what a person configures: a URL, a served name, perhaps a model version."""

from model_store.engine.engine import Engine, Mode
from model_store.pictures import FITTED_BYTES, PictureSize
from model_store.prompts import PromptSet
from model_store.registry.registry import Registry
from model_store.signals import Signals, Vocabulary

_GENERAL_PICTURE = PictureSize(224, 224, "contain")


def open_engine(
    url: str,
    model: str | None,
    version: str | None,
    registry: Registry,
    *,
    mode: Mode = "score",
    timeout_s: float = 30.0,
    connect_timeout_s: float = 1.0,
    max_concurrent_calls: int = 64,
    api_key: str | None = None,
    fitted_bytes: int = FITTED_BYTES,
    vocabulary: Vocabulary | None = None,
) -> Engine:
    """An engine with the prompts, picture size, labels and limits of `version`, or with the built-in prompts.

    Args:
        url: the server's root, without `/v1`.
        model: the served name; None means that the server serves the version under its id.
        fitted_bytes: pictures at the model's size that are kept in memory.
        version: `name@1`, `name@production` or `name` in `registry`, or None.
        vocabulary: what types of events mean; it wins over the version's own.

    Raises:
        ManifestError: there is no such version, or its files were changed.
        ValueError: neither a model nor a version was named.
    """
    manifest = registry.get(version) if version else None
    name = model or (manifest.id if manifest else None)
    if name is None:
        raise ValueError("name the model that the server serves, or a model version")
    vocabulary = vocabulary or Vocabulary()
    return Engine(
        url,
        name,
        registry.prompts(manifest, vocabulary) if manifest else PromptSet.built_in(signals=Signals(vocabulary)),
        picture=manifest.picture if manifest else _GENERAL_PICTURE,
        labels=manifest.labels if manifest else None,
        mode=mode,
        timeout_s=timeout_s,
        connect_timeout_s=connect_timeout_s,
        max_concurrent_calls=max_concurrent_calls,
        api_key=api_key,
        fitted_bytes=fitted_bytes,
        serving=manifest.serving if manifest else None,
        manifest=manifest,
    )
