"""Which model servers `tastestream up` starts, and what the gateway is told of them."""

from pathlib import Path

import pytest

from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Manifest, PictureTokens
from model_store.registry.registry import Registry
from service.local.encoder import encoder_environment, needed_encoders
from service.local.vllm import LocalEngine, choose, environment
from service.settings import Settings
from service.settings.engines import EngineSettings, RankerSettings
from tests.model_store.registry.checkpoints import checkpoint


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a store with three versions of a ranker, the first of which is in production."""
    registry, weights = Registry(tmp_path / "models"), checkpoint(tmp_path / "weights")
    registry.add(Manifest(name="shop-summarizer", version=1, role="summarizer"), BUILT_IN / "compact", weights)
    for number in (1, 2, 3):
        registry.add(Manifest(name="shop-ranker", version=number, role="ranker"), BUILT_IN / "compact", weights)
    registry.promote("shop-ranker", 1)
    return Settings(data_dir=tmp_path)


def chosen(settings: Settings) -> list[LocalEngine]:
    return choose(settings, "shop", settings.data_dir)


def test_one_for_each_role(settings: Settings) -> None:
    assert [(engine.job, engine.manifest.id) for engine in chosen(settings)] == [
        ("summarizer", "shop-summarizer@1"),
        ("ranker", "shop-ranker@1"),
    ]


def test_a_canary_and_a_shadow_are_started_unless_the_store_names_their_servers(settings: Settings) -> None:
    registry = Registry(settings.models_root)
    registry.promote("shop-ranker", 2, "canary", share=0.1)
    registry.promote("shop-ranker", 3, "shadow", urls=["http://127.0.0.1:8002"])
    engines = chosen(settings)
    assert [engine.job for engine in engines] == ["summarizer", "ranker", "ranker-canary"]
    variables = environment(engines)
    assert variables["TASTESTREAM_RANKER__URL"] == f"{engines[1].server.url},{engines[2].server.url}"
    assert variables["TASTESTREAM_RANKER__VERSION"] == "shop-ranker", "a number would not be followed"
    assert variables["TASTESTREAM_RANKER__ALLOWED_URLS"] == "http://127.0.0.1"
    assert variables["TASTESTREAM_SUMMARIZER__VERSION"] == "shop-summarizer@1"
    assert "TASTESTREAM_RANKER__MODEL" not in variables, "servers are told apart by what they serve"


def test_a_role_with_a_server_has_none_started(settings: Settings) -> None:
    given = settings.model_copy(update={"ranker": EngineSettings(url="http://ranker:8000", model="other")})
    assert [engine.job for engine in chosen(given)] == ["summarizer"]


def test_each_ranker_with_soft_tokens_has_an_encoder_started_unless_the_settings_name_one(
    settings: Settings, tmp_path: Path
) -> None:
    assert needed_encoders(settings, chosen(settings), tmp_path) == []
    registry, weights = Registry(settings.models_root), checkpoint(tmp_path / "text")
    tokens = PictureTokens(count=8, width=64)
    for number in (4, 5):
        manifest = Manifest(name="shop-ranker", version=number, role="ranker", picture_tokens=tokens)
        registry.add(manifest, BUILT_IN / "compact", weights, encoder=weights)
    registry.promote("shop-ranker", 4)
    registry.promote("shop-ranker", 5, "canary", share=0.1)
    encoders = needed_encoders(settings, chosen(settings), tmp_path)
    assert [encoder.job for encoder in encoders] == ["encoder", "encoder-canary"]
    urls = encoder_environment(encoders)["TASTESTREAM_RANKER__ENCODER_URL"]
    assert RankerSettings(encoder_url=urls).encoder_urls == [encoder.url for encoder in encoders]
    given = settings.model_copy(update={"ranker": RankerSettings(encoder_url="http://encoder:8003")})
    assert needed_encoders(given, chosen(given), tmp_path) == []
