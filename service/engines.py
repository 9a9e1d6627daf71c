"""Opens the engines of the configured model servers."""

from model_store.engine.engine import Engine, Mode, open_engine
from model_store.registry.registry import Registry
from service.settings import EngineSettings, Settings


def open_ranker(settings: Settings) -> Engine | None:
    """The engine that scores candidates, or None if the settings have no URL for it.

    Raises:
        ManifestError: the settings name a model version that is not in the store.
    """
    return _open(settings, settings.ranker, settings.ranker.mode)


def open_summarizer(settings: Settings) -> Engine | None:
    """The engine that writes summaries and descriptions, or None if the settings have no URL for it.

    Raises:
        ManifestError: as `open_ranker`.
    """
    return _open(settings, settings.summarizer)


def _open(settings: Settings, engine: EngineSettings, mode: Mode = "score") -> Engine | None:
    if engine.url is None:
        return None
    return open_engine(
        engine.url,
        engine.model,
        engine.version,
        Registry(settings.models_folder),
        mode=mode,
        timeout_s=engine.timeout_s,
        connect_timeout_s=engine.connect_timeout_s,
        max_concurrent_calls=engine.max_concurrent_calls,
        api_key=engine.api_key.get_secret_value() if engine.api_key else None,
        vocabulary=settings.signals.vocabulary(),
    )
