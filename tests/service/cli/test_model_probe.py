"""`tastestream models probe`: a version is asked once, and its servers must repeat the score."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from model_store.engine.engine import open_engine
from model_store.engine.errors import WrongScores
from model_store.engine.probe import SUMMARIES, TITLES
from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Labels, Manifest, Probe
from model_store.registry.registry import Registry
from service.settings import Settings
from tests.model_store.registry.checkpoints import checkpoint
from tests.service.cli.conftest import Ran, Run
from tests.service.serving import ModelServer, serving


@pytest.fixture
def registry(settings: Settings, tmp_path: Path) -> Registry:
    registry = Registry(settings.models_folder)
    shown = {"cooccurrence": "shop/1/cooccurrence.jsonl", "evaluation": {"auc": 0.7}, "prompt_recents": 3}
    labels, serving = Labels(yes_id=1, no_id=2), {"architecture": "Qwen2ForSequenceClassification"}
    values = {"name": "shop", "version": 1, "role": "ranker", "labels": labels, "serving": serving, **shown}
    registry.add(Manifest.model_validate(values), BUILT_IN / "compact", checkpoint(tmp_path / "weights"))
    return registry


@pytest.fixture
def server() -> ModelServer:
    return ModelServer({"War": 0.1, "jazz": 0.7}, serves=["shop@1", "shop@2"])


@pytest.fixture
async def url(server: ModelServer) -> AsyncIterator[str]:
    async with serving(server.app()) as url:
        yield url


async def probe(tastestream: Run, url: str, version: str = "shop") -> Ran:
    return await asyncio.to_thread(tastestream, "models", "probe", version, "--url", url)


async def test_the_most_extreme_score_is_recorded_and_must_be_repeated(
    tastestream: Run, registry: Registry, server: ModelServer, url: str
) -> None:
    ran = await probe(tastestream, url)
    assert ran.code == 0, ran.err
    first, second = registry.get("shop@1"), registry.get("shop@2")
    assert second.probe == Probe(summary=SUMMARIES[0], title=TITLES[1], score=0.1)
    assert [len(asked["documents"]) for asked in server.requests] == [len(TITLES)] * len(SUMMARIES)
    changed = {"version": 2, "weights": "shop/1/weights", "probe": second.probe, "created": second.created}
    assert second == first.model_copy(update=changed)
    engine = open_engine(url, None, "shop@2", registry)
    try:
        await engine.check()
        server.scores["War"] = 0.9
        engine._prober.doubt()
        with pytest.raises(WrongScores):
            await engine.check()
    finally:
        await engine.close()


async def test_scores_that_tell_no_heads_apart_are_refused(
    tastestream: Run, registry: Registry, server: ModelServer, url: str
) -> None:
    server.scores = {"War": 0.6, "jazz": 0.41}
    ran = await probe(tastestream, url)
    assert (ran.code, "close to 0.5" in ran.err) == (1, True)
    assert registry.versions("shop") == [1]


async def test_a_server_of_another_version_is_refused(
    tastestream: Run, registry: Registry, server: ModelServer, url: str
) -> None:
    server.serves = ["shop@2"]
    ran = await probe(tastestream, url)
    assert (ran.code, "serves shop@2, not shop@1" in ran.err) == (1, True)
    assert (registry.versions("shop"), server.requests) == ([1], [])


async def test_only_rankers_without_a_probe_get_one(tastestream: Run, registry: Registry, url: str) -> None:
    summarizer = Manifest(name="shop-summarizer", version=1, role="summarizer", weights="shop/1/weights")
    registry.add(summarizer, BUILT_IN / "compact")
    ran = await probe(tastestream, url, "shop-summarizer")
    assert (ran.code, "is a summarizer" in ran.err) == (1, True)
    assert (await probe(tastestream, url)).code == 0
    ran = await probe(tastestream, url, "shop@2")
    assert (ran.code, "shop@2 has a probe" in ran.err) == (1, True)
    assert registry.versions("shop") == [1, 2]
