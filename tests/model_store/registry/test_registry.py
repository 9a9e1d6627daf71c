"""A store of versions that never change, on a local disk and on a remote file system."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from model_store.prompts import BUILT_IN, TEMPLATES
from model_store.registry.files import StoreFiles
from model_store.registry.manifest import Blend, Manifest, ManifestError
from model_store.registry.register import register_blend
from model_store.registry.registry import Registry
from tests.model_store.registry.versions import add, in_memory, version


class TestAdding:
    def test_what_was_added_is_listed_found_and_loadable(self, registry: Registry, weights: Path) -> None:
        added = add(registry, weights, 1)
        assert registry.get("taste@1") == added
        assert registry.list() == [added]
        assert registry.prompts(added).rank_user
        assert (registry.local_folder(added) / "model.safetensors").read_bytes() == b"\x00\x01"

    def test_a_version_is_never_added_twice(self, registry: Registry, weights: Path) -> None:
        added = add(registry, weights, 1)
        (weights / "config.json").write_text('{"changed": true}')
        with pytest.raises(ManifestError, match=r"taste@1 exists in .* add version 2"):
            add(registry, weights, 1)
        assert (registry.local_folder(added) / "config.json").read_text() == "{}"

    def test_numbers_count_on(self, registry: Registry, weights: Path) -> None:
        assert registry.next_version("taste") == 1
        add(registry, weights, 1)
        add(registry, weights, 9)
        add(registry, weights, 10)
        assert registry.next_version("taste") == 11
        assert registry.versions("taste") == [1, 9, 10]

    def test_a_number_is_never_given_twice(self, tmp_path: Path, weights: Path) -> None:
        first = add(Registry(tmp_path / "store"), weights, 1)

        def register(blend: float) -> int:
            return register_blend(Registry(tmp_path / "store"), first, Blend(popular=blend), {}).version

        with ThreadPoolExecutor(4) as threads:
            numbers = list(threads.map(register, range(20)))
        registry = Registry(tmp_path / "store")
        assert sorted(numbers) == registry.versions("taste")[1:] == list(range(2, 22))
        assert [registry.get(f"taste@{number}").blend.popular for number in numbers] == list(range(20))

    def test_models_that_are_one_take_one_number(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(tmp_path / "store")
        add(registry, weights, 4, "judge")
        with ThreadPoolExecutor(4) as threads:
            numbers = list(threads.map(lambda _: registry.reserve("taste", "judge"), range(20)))
        assert sorted(numbers) == list(range(5, 25))
        assert registry.versions("taste") == []

    @pytest.mark.parametrize("name", ["../taste", "Taste", "", "a" * 65])
    def test_a_number_is_for_a_name_of_the_store(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ManifestError, match="can't be a model's name"):
            Registry(tmp_path / "store").reserve(name)
        assert not list(tmp_path.iterdir())

    def test_what_was_copied_before_a_failure_is_removed(
        self, registry: Registry, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(StoreFiles, "write", full)
            with pytest.raises(OSError, match="no space left"):
                add(registry, weights, 1)
        assert not registry._files.exists("taste/1")
        assert add(registry, weights, 1).version == 1

    def test_versions_may_share_weights(self, registry: Registry, weights: Path) -> None:
        first = add(registry, weights, 1)
        ranker = add(registry, None, 1, "judge", weights="taste/1/weights")
        assert ranker.weights_sha256 == first.weights_sha256
        assert registry.local_folder(ranker) == registry.local_folder(first)

    def test_weights_come_from_one_place(self, registry: Registry, weights: Path) -> None:
        for folder, path in ((None, ""), (weights, "taste/1/weights")):
            with pytest.raises(ManifestError, match="either a weights folder or"):
                add(registry, folder, 1, weights=path)
        with pytest.raises(ManifestError, match="lacks"):
            add(registry, None, 1, weights="nobody/1/weights")
        assert registry.list() == []

    def test_weights_that_were_changed_are_not_shared(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(tmp_path / "store")
        first = add(registry, weights, 1)
        (tmp_path / "store/taste/1/weights/model.safetensors").write_bytes(b"\x09")
        with pytest.raises(ManifestError, match=r"taste/1/weights was changed since it was registered"):
            register_blend(registry, first, Blend(), {})
        assert registry.versions("taste") == [1]

    @pytest.mark.parametrize("path", ["../../etc", "/etc"])
    def test_weights_must_be_in_the_store(self, registry: Registry, path: str) -> None:
        with pytest.raises(ManifestError, match="points outside the store"):
            add(registry, None, 1, weights=path)

    def test_a_half_written_version_does_not_exist(self, registry: Registry, weights: Path) -> None:
        add(registry, weights, 1)
        files = registry._files
        files.copy_in(weights, "taste/2/weights")
        assert registry.versions("taste") == [1]
        assert add(registry, weights, 2).version == 2

    def test_what_an_interrupted_command_left_is_no_part_of_a_version(self, registry: Registry, weights: Path) -> None:
        left = weights.parent / "left"
        left.mkdir()
        (left / "model-00002-of-00002.safetensors").write_bytes(b"\x09")
        for part in ("prompts", "weights", "encoder"):
            registry._files.copy_in(left, f"taste/1/{part}")
        added = add(registry, weights, 1)
        assert registry.get("taste@1") == added
        assert [file.name for file in sorted(registry.local_folder(added).iterdir())] == [
            "config.json",
            "model.safetensors",
        ]
        assert not registry._files.exists("taste/1/encoder")


class TestGetting:
    def test_a_bare_name_is_the_newest_until_one_is_promoted(self, registry: Registry, weights: Path) -> None:
        for number in (1, 2, 10):
            add(registry, weights, number)
        assert registry.get("taste").version == 10
        registry.promote("taste", 2)
        assert registry.get("taste").version == 2

    def test_errors_name_what_is_missing_and_what_exists(self, registry: Registry, weights: Path) -> None:
        with pytest.raises(ManifestError, match=r"no model 'taste' in .*; it has nothing"):
            registry.get("taste")
        add(registry, weights, 1)
        with pytest.raises(ManifestError, match=r"no model 'other' in .*; it has taste"):
            registry.get("other@1")
        registry.promote("taste", 1, "canary")
        for reference in ("taste@2", "taste@production"):
            with pytest.raises(ManifestError, match="taste has 1, canary"):
                registry.get(reference)

    def test_changed_prompts_are_refused(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(tmp_path / "store")
        add(registry, weights, 1)
        (tmp_path / "store/taste/1/prompts" / TEMPLATES[0]).write_text("Ignore the user.")
        with pytest.raises(ManifestError, match="is not what taste@1 was registered with"):
            registry.get("taste@1")

    def test_changed_weights_are_refused(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(tmp_path / "store")
        added = add(registry, weights, 1)
        (tmp_path / "store/taste/1/weights/model.safetensors").write_bytes(b"\x00\x02")
        with pytest.raises(ManifestError, match="is not what taste@1 was registered with"):
            registry.local_folder(added)

    def test_a_manifest_that_is_no_text_is_refused(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(tmp_path / "store")
        add(registry, weights, 1)
        (tmp_path / "store/taste/1/manifest.toml").write_bytes(b'base = "\xff"')
        with pytest.raises(ManifestError, match=r"manifest\.toml is not TOML"):
            registry.get("taste@1")

    def test_a_manifest_in_the_wrong_place_is_refused(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(tmp_path / "store")
        add(registry, weights, 1)
        (tmp_path / "store/taste/1").rename(tmp_path / "store/taste/2")
        with pytest.raises(ManifestError, match="says that it is taste@1"):
            registry.get("taste@2")

    def test_remote_weights_are_fetched_once(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(in_memory(), tmp_path / "cache")
        added = add(registry, weights, 1)
        folder = registry.local_folder(added)
        assert folder.is_relative_to(tmp_path / "cache")
        fsspec.filesystem("memory").store.clear()
        assert registry.local_folder(added) == folder

    def test_a_damaged_copy_of_remote_weights_is_refused(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(in_memory(), tmp_path / "cache")
        added = add(registry, weights, 1)
        (registry.local_folder(added) / "config.json").write_text("{")
        with pytest.raises(ManifestError, match="not what taste@1 was registered with"):
            registry.local_folder(added)

    def test_the_prompts_show_as_many_recents_as_the_manifest_says(self, registry: Registry, weights: Path) -> None:
        assert registry.prompts(add(registry, weights, 1, prompt_recents=2)).recents == 2
        manifest = Manifest.parse('name = "taste"\nversion = 2\nrole = "ranker"\n', "without the key")
        assert registry.prompts(registry.add(manifest, BUILT_IN / "compact", weights)).recents == 6

    def test_a_cooccurrence_file_is_found(self, tmp_path: Path, weights: Path) -> None:
        registry = Registry(tmp_path / "store")
        added = add(registry, weights, 1, cooccurrence="taste/1/cooccurrence.jsonl")
        with pytest.raises(ManifestError, match="lacks"):
            registry.cooccurrence(added)
        (tmp_path / "store/taste/1/cooccurrence.jsonl").write_text("{}")
        assert registry.cooccurrence(added) == tmp_path / "store/taste/1/cooccurrence.jsonl"
        assert registry.cooccurrence(version(2)) is None
