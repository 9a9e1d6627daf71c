"""Opens the engines of the configured model servers."""

from collections.abc import Sequence

from model_store.engine.breaker import Breaker, BreakerRules
from model_store.engine.client import VllmClient
from model_store.engine.embed import Embedder
from model_store.engine.embed import open_embedder as open_version
from model_store.engine.engine import Engine, Mode, open_engine
from model_store.engine.replicas import Replicas
from model_store.engine.retry_budget import RetryBudget
from model_store.engine.served_model import ServerOptions
from model_store.item_models.item_models import ItemModels
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from service.settings import Settings
from service.settings.engines import EngineSettings


def open_ranker(settings: Settings) -> Replicas | None:
    """The engines that score candidates, or None if the settings have no URL for them.

    Raises:
        ManifestError: the settings name a model version that is not in the store.
    """
    engines: list[Engine] = []
    retries = RetryBudget(settings.ranker.retry_share)
    for url in settings.ranker.urls:
        first = engines[0] if engines else None
        engines.append(_open(settings, settings.ranker, url, retries, settings.ranker.mode, first))
    return Replicas(engines) if engines else None


def item_models(settings: Settings, manifest: Manifest | None) -> ItemModels:
    """The item models of a model version; a general model has none.

    Raises:
        ManifestError: a file is missing, or not the one that was registered.
        ItemModelError: it is too large, or malformed.
    """
    return Registry(settings.models_root).item_models(manifest) if manifest else ItemModels()


def with_version(settings: Settings, version: str, urls: Sequence[str]) -> Settings:
    """The settings with a ranker that is `version`, served under its id by the servers `urls`."""
    ranker = settings.ranker.model_copy(update={"url": ",".join(urls), "version": version, "model": None})
    return settings.model_copy(update={"ranker": ranker})


def open_summarizer(settings: Settings) -> Engine | None:
    """The engine that writes summaries and descriptions, or None if the settings have no URL for it.

    Raises:
        ManifestError: as `open_ranker`.
    """
    retries = RetryBudget(settings.summarizer.retry_share)
    return next((_open(settings, settings.summarizer, url, retries) for url in settings.summarizer.urls), None)


def open_embedder(settings: Settings, version: str, url: str, model: str) -> Embedder:
    """A version of the embedder, on the server that serves it under the name `model`.

    Raises:
        ManifestError, HeadError: the version does not exist, is no embedder, or its files were changed.
    """
    engine = settings.embedder
    return open_version(
        url,
        version,
        Registry(settings.models_root),
        model=model,
        **_options(engine, RetryBudget(engine.retry_share)),
    )


def open_listing(engine: EngineSettings, url: str) -> VllmClient:
    """A client that asks one of the servers which models it serves."""
    return VllmClient(url, connect_timeout_s=engine.connect_timeout_s, max_concurrent_calls=1, api_key=_key(engine))


def soft_token_versions(settings: Settings) -> list[Manifest]:
    """The versions of the ranker that have an alias, production first, one for each picture encoder.

    Raises:
        ManifestError: the settings name a model version that is not in the store.
    """
    reference = settings.ranker.version
    if reference is None:
        return []
    registry = Registry(settings.models_root)
    first = registry.get(reference)
    numbers = [first.version, *registry.aliases(first.name).values()]
    versions = [registry.get(f"{first.name}@{number}") for number in dict.fromkeys(numbers)]
    by_encoder: dict[str, Manifest] = {}
    for version in versions:
        if version.picture_tokens is not None:
            by_encoder.setdefault(version.encoder_id, version)
    return list(by_encoder.values())


def _open(
    settings: Settings,
    engine: EngineSettings,
    url: str,
    retries: RetryBudget,
    mode: Mode = "score",
    replica: Engine | None = None,
) -> Engine:
    """`replica` is another engine of the same model, which has read some pictures already."""
    return open_engine(
        url,
        engine.model,
        engine.version,
        Registry(settings.models_root),
        mode=mode,
        vocabulary=settings.signals.vocabulary(),
        pictures=replica.pictures if replica else None,
        soft_tokens=replica.soft_tokens if replica else None,
        **_options(engine, retries),
    )


def _options(engine: EngineSettings, retries: RetryBudget) -> ServerOptions:
    return {
        "timeout_s": engine.timeout_s,
        "connect_timeout_s": engine.connect_timeout_s,
        "max_concurrent_calls": engine.max_concurrent_calls,
        "api_key": _key(engine),
        "breaker": Breaker(BreakerRules(max_open_s=engine.breaker_max_open_s)),
        "retries": retries,
    }


def _key(engine: EngineSettings) -> str | None:
    return engine.api_key.get_secret_value() if engine.api_key else None
