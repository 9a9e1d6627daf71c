"""Canary and shadow: their shares and servers, how they end, and files that are malformed."""

from pathlib import Path

import pytest

from model_store.prompts import BUILT_IN
from model_store.registry.aliases import Promotion, parse_histories, servers_named, versions_named
from model_store.registry.manifest import Manifest, ManifestError
from model_store.registry.registry import Registry
from tests.model_store.registry.checkpoints import checkpoint

URLS = ("http://one:8000", "http://two:8000")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry, weights = Registry(tmp_path / "store"), checkpoint(tmp_path / "checkpoint")
    for number in (1, 2, 3):
        registry.add(Manifest(name="taste", version=number, role="ranker"), BUILT_IN / "compact", weights)
    registry.promote("taste", 1)
    return registry


def test_a_canary_has_a_share_and_servers(registry: Registry) -> None:
    registry.promote("taste", 2, "canary", share=0.1, urls=URLS)
    assert registry.promotions("taste") == {
        "production": Promotion(1),
        "canary": Promotion(2, 0.1, URLS),
    }


def test_the_servers_of_a_version_are_kept_from_alias_to_alias(registry: Registry) -> None:
    registry.promote("taste", 2, "canary", share=0.1, urls=URLS)
    assert registry.promote("taste", 2, "canary", share=0.5).urls == URLS
    assert registry.promote("taste", 2).urls == URLS
    assert registry.promote("taste", 3).urls == ()


def test_the_servers_of_versions_that_were_promoted_before_are_known(registry: Registry) -> None:
    def named() -> dict[int, tuple[str, ...]]:
        return servers_named(registry.histories("taste"), "production")

    registry.promote("taste", 1, urls=URLS[:1])
    registry.promote("taste", 2, "shadow", urls=URLS)
    registry.promote("taste", 2, urls=URLS[1:])
    assert named() == {1: URLS[:1], 2: URLS[1:]}
    registry.promote("taste", 1, urls=URLS)
    assert named() == {1: URLS, 2: URLS[1:]}
    registry.rollback("taste")
    registry.rollback("taste")
    assert named() == {1: URLS[:1], 2: URLS[1:]}, "the alias names the first servers again"
    registry.promote("taste", 3)
    registry.promote("taste", 1)
    assert named()[1] == (), "the servers of the settings, since no alias names others"


def test_a_canary_ends_when_its_version_becomes_production(registry: Registry) -> None:
    registry.promote("taste", 2, "canary", share=0.1)
    registry.promote("taste", 3, "shadow")
    registry.promote("taste", 2)
    assert registry.aliases("taste") == {"production": 2, "shadow": 3}
    assert registry.rollback("taste") == 1
    assert registry.aliases("taste") == {"production": 1, "shadow": 3}, "the canary must not come back"


def test_a_rollback_of_a_canary_restores_its_share(registry: Registry) -> None:
    registry.promote("taste", 2, "canary", share=0.1)
    registry.promote("taste", 2, "canary", share=0.5)
    registry.rollback("taste", "canary")
    assert registry.promotions("taste")["canary"].share == 0.1


def test_an_alias_can_end_and_production_cannot(registry: Registry) -> None:
    registry.promote("taste", 2, "shadow")
    assert registry.end("taste", "shadow") == 2
    assert registry.aliases("taste") == {"production": 1}
    with pytest.raises(ManifestError, match="no alias 'shadow'"):
        registry.end("taste", "shadow")
    with pytest.raises(ManifestError, match="can't end"):
        registry.end("taste", "production")


def test_versions_are_remembered_after_their_alias(registry: Registry) -> None:
    registry.promote("taste", 2, "canary", share=0.1)
    registry.end("taste", "canary")
    assert versions_named(registry.histories("taste")) == {1, 2}


@pytest.mark.parametrize(
    "content",
    [
        "canary = ",
        "canary = 3",
        "[canary]",
        "canary = [3]",
        '[[canary]]\naction = "promote"',
        '[[canary]]\naction = "promote"\nversion = "four"',
        '[[canary]]\naction = "promote"\nversion = 4\nshare = 1.5',
        '[[canary]]\naction = "promote"\nversion = 4\nshare = nan',
        '[[canary]]\naction = "promote"\nversion = 4\nurls = [3]',
        '[[canary]]\naction = "promote"\nversion = 4\nurls = 3',
        '[[canary]]\naction = "rollback"\nversion = 4',
        '[[canary]]\naction = "explode"',
    ],
)
def test_a_malformed_file_is_refused_by_name(content: str) -> None:
    with pytest.raises(ManifestError, match=r"aliases\.toml"):
        parse_histories(content.encode(), "taste/aliases.toml")
