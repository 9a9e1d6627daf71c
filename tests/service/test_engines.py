"""Settings become engines: each role has its own, and none without a server."""

from pathlib import Path

import pytest

from model_store.registry.manifest import ManifestError
from service.engines import open_ranker, open_summarizer
from service.settings import EngineSettings, RankerSettings, Settings, SignalSettings
from tests.service.serving import VERSION


def settings(folder: Path, version: str | None = VERSION) -> Settings:
    return Settings(
        model_store=folder,
        ranker=RankerSettings(url="http://ranker:8001", model="served", version=version),
        summarizer=EngineSettings(url="http://summarizer:8002", model="writer"),
        signals=SignalSettings(negative=("click",)),
    )


async def test_each_role_has_its_server_and_its_version(model_store: Path) -> None:
    ranker, summarizer = open_ranker(settings(model_store)), open_summarizer(settings(model_store))
    assert ranker is not None
    assert summarizer is not None
    assert (ranker.url, ranker.model, ranker.id) == ("http://ranker:8001", "served", VERSION)
    assert (summarizer.url, summarizer.id) == ("http://summarizer:8002", "writer")
    await ranker.close()
    await summarizer.close()


async def test_the_vocabulary_of_the_settings_reaches_the_prompts(model_store: Path) -> None:
    engine = open_ranker(settings(model_store))
    assert engine is not None
    assert engine.prompts.signals("click") == "negative"
    await engine.close()


def test_without_a_url_there_is_no_engine() -> None:
    assert open_ranker(Settings()) is None
    assert open_summarizer(Settings()) is None


def test_an_unknown_version_is_reported(model_store: Path) -> None:
    with pytest.raises(ManifestError, match="no version 'ranker@9'"):
        open_ranker(settings(model_store, "ranker@9"))
