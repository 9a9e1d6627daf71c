"""Which version an alias names: promotions one after the other, and rollbacks."""

import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.registry.aliases import stack
from model_store.registry.manifest import ManifestError
from model_store.registry.registry import Registry
from tests.model_store.registry.versions import add


class TestAliases:
    def test_promotions_are_rolled_back_one_by_one(self, registry: Registry, weights: Path) -> None:
        for number in (1, 2, 3):
            add(registry, weights, number)
            registry.promote("taste", number)
        assert registry.rollback("taste") == 2
        assert registry.get("taste@production").version == 2
        assert registry.rollback("taste") == 1
        with pytest.raises(ManifestError, match="no earlier version"):
            registry.rollback("taste")
        assert registry.get("taste").version == 1

    def test_aliases_are_independent(self, registry: Registry, weights: Path) -> None:
        add(registry, weights, 1)
        add(registry, weights, 2)
        registry.promote("taste", 1)
        registry.promote("taste", 2, "canary")
        assert registry.aliases("taste") == {"production": 1, "canary": 2}
        assert registry.get("taste@canary").version == 2

    def test_only_what_exists_is_promoted(self, registry: Registry, weights: Path) -> None:
        add(registry, weights, 1)
        with pytest.raises(ManifestError, match="no version 'taste@7'"):
            registry.promote("taste", 7)
        for alias in ("7", "", "a b", "a@b", "ä", "Production", "a" * 65):
            with pytest.raises(ManifestError, match="an alias is a lower-case word"):
                registry.promote("taste", 1, alias)
        with pytest.raises(ManifestError, match="no earlier version"):
            registry.rollback("taste", "shadow")
        for name in ("none", "", "../taste"):
            for change in (registry.rollback, lambda name: registry.end(name, "canary")):
                with pytest.raises(ManifestError, match="no model"):
                    change(name)

    def test_changes_at_the_same_time_are_all_kept(self, tmp_path: Path, weights: Path) -> None:
        add(Registry(tmp_path / "store"), weights, 1)

        def promote(alias: str) -> None:
            for _ in range(10):
                Registry(tmp_path / "store").promote("taste", 1, alias)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(promote, "abcd"))
        kept = Registry(tmp_path / "store").histories("taste")
        assert {alias: len(entries) for alias, entries in kept.items()} == dict.fromkeys("abcd", 10)

    def test_every_change_is_kept(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(tmp_path / "store")
        for number in (1, 2):
            add(registry, weights, number)
            registry.promote("taste", number)
        registry.rollback("taste")
        history = tomllib.loads((tmp_path / "store/taste/aliases.toml").read_text())["production"]
        assert [(entry["action"], entry["version"]) for entry in history] == [
            ("promote", 1),
            ("promote", 2),
            ("rollback", 1),
        ]
        assert all("at" in entry for entry in history)

    def test_a_broken_aliases_file_is_named(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(tmp_path / "store")
        add(registry, weights, 1)
        (tmp_path / "store/taste/aliases.toml").write_text("production = ")
        with pytest.raises(ManifestError, match=r"aliases\.toml is not TOML"):
            registry.get("taste")


@given(st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=20))
def test_a_rollback_undoes_the_last_promotion_that_still_stands(steps: list[int | None]) -> None:
    history: list[dict[str, Any]] = []
    standing: list[int] = []
    for step in steps:
        if step is not None:
            history.append({"action": "promote", "version": step})
            standing.append(step)
        elif len(standing) > 1:
            standing.pop()
            history.append({"action": "rollback", "version": standing[-1]})
    assert [promotion.version for promotion in stack(history)] == standing
