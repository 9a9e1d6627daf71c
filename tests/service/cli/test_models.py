"""`tastestream models`: versions are registered, compared, promoted and removed."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_store.errors import UserError
from model_store.item_models.item_models import ITEM_MODELS, ItemModels
from model_store.item_models.item_vectors import ItemVectors
from model_store.item_models.item_weights import ItemWeights
from model_store.prompts import BUILT_IN
from model_store.registry.evaluations import Evaluations
from model_store.registry.manifest import Blend, Labels, Manifest, Probe, hash_files
from model_store.registry.registry import Registry
from service.cli.model_versions import parse_share
from service.settings import Settings
from tests.model_store.registry.checkpoints import PARAMETERS
from tests.model_store.registry.checkpoints import checkpoint as write_checkpoint
from tests.service.cli.conftest import Run

ROOT = Path(__file__).parents[3]
LONG_AGO = datetime.now(UTC) - timedelta(days=100)
NOTHING = ItemModels(ItemWeights(), ItemVectors())


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return Registry(settings.models_folder)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "weights")


def register(registry: Registry, checkpoint: Path | None, number: int, **fields: object) -> Manifest:
    manifest = Manifest.model_validate(
        {"name": "shop", "version": number, "role": "ranker", "created": LONG_AGO, **fields}
    )
    return registry.add(manifest, BUILT_IN / "compact", checkpoint)


class TestAdding:
    def test_a_checkpoint_becomes_the_next_version(self, tastestream: Run, registry: Registry, weights: Path) -> None:
        for number in (1, 2):
            ran = tastestream("models", "add", str(weights), "--name", "shop", "--prompts", "default", "--base", "tiny")
            assert ran.code == 0, ran.err
            assert f"registered shop@{number}" in ran.out
            assert "it has no probe" in ran.out
        manifest = registry.get("shop@2")
        assert manifest.serving.architecture == "Qwen2ForSequenceClassification"
        assert manifest.serving.max_model_len == 512
        assert (manifest.base, manifest.training.parameters) == ("tiny", PARAMETERS)
        assert manifest.labels is not None
        assert (manifest.labels.yes_id, manifest.labels.no_id) == (1, 2)
        assert manifest.prompts_sha256 == hash_files(BUILT_IN / "default")

    def test_it_can_be_like_another_version(self, tastestream: Run, registry: Registry, weights: Path) -> None:
        register(registry, weights, 1, blend=Blend(collaborative=0.7), prompt_recents=3)
        assert tastestream("models", "add", str(weights), "--name", "shop", "--like", "shop@1").code == 0
        manifest = registry.get("shop@2")
        assert (manifest.blend.collaborative, manifest.prompt_recents) == (0.7, 3)
        assert registry.prompts(manifest).folder.is_relative_to(registry.root)

    def test_a_version_is_copied_from_another_store(
        self, tastestream: Run, registry: Registry, weights: Path, tmp_path: Path
    ) -> None:
        other = Registry(tmp_path / "other")
        other.write("shop/1/cooccurrence.jsonl", b'{"item":"a"}\n')
        fields = other.write_item_models("shop", 1, NOTHING)
        register(other, weights, 1, cooccurrence="shop/1/cooccurrence.jsonl", **fields)
        folder = str(tmp_path / "other/shop/1")
        for number in (1, 2):
            assert tastestream("models", "add", folder).code == 0
            manifest = registry.get(f"shop@{number}")
            assert registry.local_folder(manifest)
            counts = registry.cooccurrence(manifest)
            assert counts is not None
            assert counts.parent.name == str(number)
            for field in ITEM_MODELS:
                assert getattr(manifest, field) == f"shop/{number}/{field}.safetensors"
            assert registry.item_models(manifest) == NOTHING
        (tmp_path / "other/shop/1/prompts/rank_item.j2").write_text("changed")
        ran = tastestream("models", "add", folder)
        assert (ran.code, "copy it again" in ran.err) == (1, True)

    @pytest.mark.parametrize("field", ITEM_MODELS)
    def test_a_copy_whose_item_models_were_changed_is_refused(
        self, tastestream: Run, registry: Registry, weights: Path, tmp_path: Path, field: str
    ) -> None:
        other = Registry(tmp_path / "other")
        register(other, weights, 1, **other.write_item_models("shop", 1, NOTHING))
        (tmp_path / f"other/shop/1/{field}.safetensors").write_bytes(ITEM_MODELS[field](("a",)).dump())
        ran = tastestream("models", "add", str(tmp_path / "other/shop/1"))
        assert (ran.code, ITEM_MODELS[field].title in ran.err, registry.list()) == (1, True, [])

    def test_a_copy_that_shares_weights_needs_those_in_this_store(
        self, tastestream: Run, registry: Registry, weights: Path, tmp_path: Path
    ) -> None:
        other = Registry(tmp_path / "other")
        shared = register(other, weights, 1)
        other.add(shared.model_copy(update={"version": 2, "weights": "shop/1/weights"}), other.prompts(shared).folder)
        folder = str(tmp_path / "other/shop/2")
        lacking = tastestream("models", "add", folder)
        assert (lacking.code, "shop/1/weights" in re.sub(r"\s+", "", lacking.err)) == (1, True)
        assert tastestream("models", "add", str(tmp_path / "other/shop/1")).code == 0
        assert tastestream("models", "add", folder).code == 0
        (registry.local_folder(shared) / "tokenizer.json").write_text("{}")
        other_model = tastestream("models", "add", folder)
        assert (other_model.code, "is not what shop@2 was registered with" in " ".join(other_model.err.split())) == (
            1,
            True,
        )

    def test_only_a_copied_version_has_a_probe(
        self, tastestream: Run, registry: Registry, weights: Path, tmp_path: Path
    ) -> None:
        probe = Probe(summary="Likes harbours.", title="Red Harbour", score=0.9)
        register(Registry(tmp_path / "other"), weights, 1, probe=probe)
        copied = tastestream("models", "add", str(tmp_path / "other/shop/1"))
        assert (registry.get("shop@1").probe, "no probe" in copied.out) == (probe, False)
        like = tastestream("models", "add", str(weights), "--name", "shop", "--like", "shop@1")
        assert registry.get("shop@2").probe is None
        title = re.search(r'docs/models\.md, "([^"]+)"', like.out)
        assert title is not None, like.out
        assert f"\n## {title[1]}\n" in (ROOT / "docs/models.md").read_text("utf-8")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--name", "shop"), "name the prompts"),
            (("--name", "shop", "--prompts", "nobody"), "neither a folder nor one of compact, default"),
            (("--prompts", "compact"), "needs --name"),
            (("--name", "shop", "--prompts", "compact", "--labels", "Yes,No"), "'Yes' is not a single token"),
            (("--name", "shop", "--prompts", "compact", "--labels", "yes"), "two different tokens"),
        ],
    )
    def test_mistakes_register_nothing(
        self, tastestream: Run, registry: Registry, weights: Path, options: tuple[str, ...], message: str
    ) -> None:
        ran = tastestream("models", "add", str(weights), *options)
        assert ran.code != 0
        assert message in re.sub(r"[\s│]+", " ", ran.err)
        assert registry.list() == []


class TestPromoting:
    def test_a_canary_is_promoted_and_ends(self, tastestream: Run, registry: Registry, weights: Path) -> None:
        register(registry, weights, 1)
        register(registry, weights, 2)
        assert tastestream("models", "promote", "shop", "1").code == 0
        options = ("--alias", "canary", "--share", "10%", "--url", "http://127.0.0.1:8002")
        ran = tastestream("models", "promote", "shop", "2", *options)
        assert "shop@canary is now shop@2 for 0.1 of the users on http://127.0.0.1:8002" in ran.out
        assert "canary 0.1" in tastestream("models", "list").out
        assert tastestream("models", "end", "shop", "canary").code == 0
        assert registry.aliases("shop") == {"production": 1}

    @pytest.mark.parametrize(
        "options",
        [
            ("--alias", "canary"),
            ("--share", "10%"),
            ("--alias", "canary", "--share", "110%"),
            ("--alias", "canary", "--share", "some"),
            ("--url", "ftp://x"),
        ],
    )
    def test_mistakes_promote_nothing(
        self, tastestream: Run, registry: Registry, weights: Path, options: tuple[str, ...]
    ) -> None:
        register(registry, weights, 1)
        assert tastestream("models", "promote", "shop", "1", *options).code != 0
        assert registry.aliases("shop") == {}

    @pytest.mark.parametrize("options", [("canary", "--share", "10%"), ("shadow",)])
    def test_an_embedder_has_neither_canary_nor_shadow(
        self, tastestream: Run, registry: Registry, weights: Path, options: tuple[str, ...]
    ) -> None:
        register(registry, weights, 1, role="embedder", embedding={"kind": "direct", "dimensions": 8})
        ran = tastestream("models", "promote", "shop", "1", "--alias", *options)
        assert (ran.code, f"--alias {options[0]} is for rankers" in ran.err) == (2, True)
        assert registry.aliases("shop") == {}
        on = "http://127.0.0.1:8002"
        assert f"is now shop@1 on {on}" in tastestream("models", "promote", "shop", "1", "--url", on).out

    @pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("0.25", 0.25), ("100%", 1.0), ("0", 0.0)])
    def test_shares_are_percent_or_numbers(self, text: str, share: float) -> None:
        assert parse_share(text) == pytest.approx(share)

    @pytest.mark.parametrize("text", ["nan%", "-1", "2", "%", ""])
    def test_other_shares_are_refused(self, text: str) -> None:
        with pytest.raises(UserError):
            parse_share(text)


class TestComparing:
    def test_differences_and_results_are_side_by_side(
        self, tastestream: Run, registry: Registry, weights: Path
    ) -> None:
        labels = [Labels(yes_id=number, no_id=7) for number in (5, 9)]
        register(registry, weights, 1, evaluation={"test": {"auc": 0.81}}, blend=Blend(popular=0.1), labels=labels[0])
        register(registry, weights, 2, evaluation={"test": {"auc": 0.86}}, blend=Blend(popular=0.2), labels=labels[1])
        metrics = {"auc": {"value": 0.75}, "hit_rate": {"5": {"value": 0.5}}, "ndcg": {"5": {"value": 0.5}}}
        board = {"protocol": "popular", "cases": 40, "methods": [{"name": "service", "kind": "service", **metrics}]}
        report = {"created": "2026-11-27", "data": {"name": "films", "sha256": "ab" * 32}, "boards": [board]}
        Evaluations(registry.root).add(registry.get("shop@2"), "films", {"report.json": json.dumps(report).encode()})
        ran = tastestream("models", "compare", "shop@1", "shop@2")
        rows = {line.split()[0]: line.split()[1:] for line in ran.out.splitlines() if line.strip()}
        assert rows["blend.popular"] == ["0.1", "0.2", "+0.1"]
        assert rows["test.auc"] == ["0.81", "0.86", "+0.05"]
        assert "films (abababab).popular.service.auc 75" in " ".join(ran.out.split())
        assert "blend.mllm" not in rows, "it is the same"
        assert rows["labels.yes_id"] == ["5", "9"], "tokens have no distance"

    def test_a_broken_report_is_named(self, tastestream: Run, registry: Registry, weights: Path) -> None:
        register(registry, weights, 1)
        Evaluations(registry.root).add(registry.get("shop@1"), "films", {"report.json": b"{"})
        ran = tastestream("models", "compare", "shop@1", "shop@1")
        assert (ran.code, "report.json is no report of an evaluation" in ran.err) == (1, True)


class TestRemoving:
    @pytest.fixture
    def filled(self, registry: Registry, weights: Path) -> Registry:
        """Removable: 2 alone. 1 can be rolled back to, 3 is production, 4 is shared, 5 is young, 6 has no age."""
        for number in (1, 2, 3, 4):
            register(registry, weights, number)
        register(registry, weights, 5, created=datetime.now(UTC))
        register(registry, None, 6, weights="shop/4/weights")
        manifest = Path(registry.root) / "shop/6/manifest.toml"
        kept = [line for line in manifest.read_text().splitlines() if not line.startswith("created")]
        manifest.write_text("\n".join(kept))
        register(registry, weights, 7)
        registry.promote("shop", 1)
        registry.promote("shop", 3)
        return registry

    def test_only_what_nothing_needs_is_removed_and_only_with_yes(self, tastestream: Run, filled: Registry) -> None:
        ran = tastestream("models", "gc")
        assert re.findall(r"shop@\d", ran.out) == ["shop@2"]
        assert "nothing was removed" in ran.out
        assert filled.versions("shop") == [1, 2, 3, 4, 5, 6, 7]
        assert tastestream("models", "gc", "--yes").code == 0
        assert filled.versions("shop") == [1, 3, 4, 5, 6, 7]
        assert not (Path(filled.root) / "shop/2").exists()
        for number in (1, 3, 4, 5, 6, 7):
            assert filled.local_folder(filled.get(f"shop@{number}"))
        assert "nothing to remove" in tastestream("models", "gc", "--yes").out

    @pytest.mark.parametrize("field", ITEM_MODELS)
    def test_a_version_whose_item_models_another_shares_stays(
        self, tastestream: Run, filled: Registry, registry: Registry, field: str
    ) -> None:
        fields = registry.write_item_models("shop", 2, ItemModels(**{field: ITEM_MODELS[field]()}))
        register(registry, None, 8, weights="shop/1/weights", **fields)
        assert tastestream("models", "gc", "--yes").code == 0
        assert 2 in filled.versions("shop")

    def test_what_only_removable_versions_share_goes_with_them(
        self, tastestream: Run, filled: Registry, registry: Registry
    ) -> None:
        shutil.rmtree(Path(registry.root) / "shop/6")
        register(registry, None, 6, weights="shop/4/weights")
        assert tastestream("models", "gc", "--yes").code == 0
        assert filled.versions("shop") == [1, 3, 5, 7]

    def test_an_age_is_a_duration(self, tastestream: Run) -> None:
        assert tastestream("models", "gc", "--older-than", "soon").code == 2
