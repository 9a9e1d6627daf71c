"""Settings become engines: each role has its own, and none without a server."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from model_store.errors import UserError
from model_store.registry.manifest import ManifestError
from service.engines import open_ranker, open_summarizer
from service.settings import Settings
from service.settings.engines import EmbedderSettings, EngineSettings, RankerSettings
from service.settings.pictures import PictureSettings
from service.settings.signals import SignalSettings
from service.settings.tenants import EncodedChoice, TenantSettings
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
    assert (ranker.order("user"), ranker.id) == (["http://ranker:8001"], VERSION)
    assert (summarizer.url, summarizer.id) == ("http://summarizer:8002", "writer")
    await ranker.close()
    await summarizer.close()


async def test_the_vocabulary_of_the_settings_reaches_the_prompts(model_store: Path) -> None:
    engine = open_ranker(settings(model_store))
    assert engine is not None
    assert engine.prompts.signals("click") == "negative"
    await engine.close()


async def test_urls_separated_by_commas_are_replicas_of_the_ranker(model_store: Path) -> None:
    urls = ["http://ranker-0:8000", "http://ranker-1:8000", "https://ranker-2"]
    several = RankerSettings(url=", ".join(urls), version=VERSION)
    engines = open_ranker(Settings(model_store=model_store, ranker=several))
    assert engines is not None
    assert sorted(engines.order("user")) == urls
    await engines.close()


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (RankerSettings, "http://a,http://a"),
        (RankerSettings, "http://a,ftp://b"),
        (RankerSettings, ","),
        (RankerSettings, ",".join(f"http://ranker-{n}" for n in range(65))),
        (EngineSettings, "http://a,http://b"),
    ],
)
def test_urls_that_are_no_set_of_servers_are_refused(kind: type[EngineSettings], url: str) -> None:
    with pytest.raises(ValidationError, match=r"names a server twice, or more than|must be the root of a server"):
        kind(url=url, model="served")


def test_without_a_url_there_is_no_engine() -> None:
    assert open_ranker(Settings()) is None
    assert open_summarizer(Settings()) is None


def test_an_unknown_version_is_reported(model_store: Path) -> None:
    with pytest.raises(ManifestError, match="no version 'ranker@9'"):
        open_ranker(settings(model_store, "ranker@9"))


@pytest.mark.parametrize("store", ["s3://bucket/models", "memory://models", "/srv/models"])
def test_the_model_store_may_be_a_url(store: str) -> None:
    assert Settings(model_store=store).models_root == store


def test_nothing_is_trained_into_a_store_that_is_elsewhere() -> None:
    with pytest.raises(UserError, match="choose one with --store"):
        _ = Settings(model_store="s3://bucket/models").models_folder


def test_a_tenant_with_another_version_does_not_inherit_the_encoder_of_the_first() -> None:
    ranker = RankerSettings(url="http://ranker:8001", version="a@1", encoder_url="http://encoder:8003")
    choices = {
        "same": EncodedChoice(),
        "server": EncodedChoice(url="http://other:8001"),
        "version": EncodedChoice(version="b@1"),
        "both": EncodedChoice(version="b@1", encoder_url="http://other:8003"),
    }
    settings = Settings(ranker=ranker, tenants={name: TenantSettings(ranker=one) for name, one in choices.items()})
    found = {name: settings.of_tenant(name).ranker.encoder_url for name in choices}
    assert found == {
        "same": "http://encoder:8003",
        "server": "http://encoder:8003",
        "version": None,
        "both": "http://other:8003",
    }


def test_tokens_are_kept_beside_the_pictures_of_each_tenant() -> None:
    settings = Settings(data_dir=Path("/data"), tenants={"shop": {}})
    assert settings.picture_tokens_url == "/data/pictures/tokens"
    assert settings.of_tenant("shop").picture_tokens_url == "/data/pictures/tenants/shop/tokens"
    given = settings.model_copy(update={"pictures": PictureSettings(tokens_url="s3://tokens")})
    assert given.of_tenant("default").picture_tokens_url == "s3://tokens"
    assert given.of_tenant("shop").picture_tokens_url == "s3://tokens/tenants/shop"


@pytest.mark.parametrize("role", [RankerSettings, EmbedderSettings])
@pytest.mark.parametrize("pattern", ["10.0.0.7", "http://a/path", "ftp://a"])
def test_what_promotions_may_name_is_a_server(role: type[RankerSettings | EmbedderSettings], pattern: str) -> None:
    with pytest.raises(ValidationError, match="must be servers"):
        role(allowed_urls=(pattern,))


def test_an_embedder_whose_url_is_left_open_is_none() -> None:
    assert EmbedderSettings(url="", version="shop-embedder").url is None
    with pytest.raises(ValidationError, match="root of a server"):
        EmbedderSettings(url="embedder:8000", version="shop-embedder")
