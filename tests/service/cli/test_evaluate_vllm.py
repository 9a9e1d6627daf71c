"""`tastestream evaluate` with a real summarizer, which it starts itself, and a real ranker that sees pictures."""

import asyncio
import re
import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml

from model_store.data.dataset import Dataset, read_dataset
from model_store.demo import MODELS
from model_store.demo.world import generate
from model_store.evaluate.answers import AnswerCache
from model_store.evaluate.asking import Summarizer
from model_store.evaluate.condition import RECURRENT, Condition
from model_store.evaluate.protocol import Protocol, make_cases
from model_store.evaluate.results import Evaluation
from model_store.evaluate.run import FULL, RANKER, RAW_HISTORY, SERVICE, TEXT_ONLY
from model_store.evaluate.server import ModelServer
from model_store.evaluate.subject import Subject, ask
from model_store.evaluate.views import DatasetViews
from model_store.progress import quiet
from model_store.registry.evaluations import EVALUATIONS
from model_store.registry.registry import Registry
from model_store.serving.launch import VllmServer
from model_store.views import InteractionView, ItemView, UserView
from service.engines import open_ranker
from service.settings import Settings
from service.settings.engines import RankerSettings
from tests.service.cli.conftest import Ran, Run
from tests.vllm_servers import ServedModel

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]
USERS, NEGATIVES = 6, 5
PROTOCOL = Protocol("uniform", users=USERS, n_negatives=NEGATIVES)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    generate(tmp_path / "world", seed=5, items=30, users=120, picture_side=64, events=(7, 9))
    return tmp_path / "world"


@pytest.fixture
def registry(ranker_server: ServedModel, tmp_path: Path) -> Registry:
    """A store of its own, to which reports are written, with the ranker that is served and its summarizer."""
    registry = Registry(shutil.copytree(MODELS, tmp_path / "store"))
    assert registry.get("demo-ranker").weights_sha256 == ranker_server.manifest.weights_sha256
    return registry


def scored(url: str) -> int:
    """Prompts that the ranker's server has scored."""
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    return int(sum(float(n) for n in re.findall(r"^vllm:request_success_total{.*} (\S+)$", text, re.MULTILINE)))


def reports(registry: Registry) -> list[Path]:
    return sorted((Path(registry.root) / "demo-ranker/1" / EVALUATIONS).glob("world-*"))


def no_start(_: VllmServer) -> None:
    raise AssertionError("a server is started for answers that are cached")


def test_a_version_is_evaluated_by_what_the_service_asks_and_asked_once(
    tastestream: Run,
    ranker_server: ServedModel,
    registry: Registry,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def evaluate(*options: str) -> Ran:
        sizes = ["--protocol", "uniform", "--users", str(USERS), "--negatives", str(NEGATIVES)]
        places = ["--data", str(data), "--store", registry.root, "--cache", str(tmp_path / "answers")]
        return tastestream("evaluate", "demo-ranker", *sizes, *places, "--baselines", "popularity,ItemKNN", *options)

    first = evaluate("--ranker-url", ranker_server.url)
    assert first.code == 0, first.err
    (folder,) = reports(registry)
    assert f"report: {folder}/report.html" in first.out
    found = Evaluation.model_validate_json((folder / "report.json").read_text())
    (board,) = found.boards
    assert (found.version, found.summarizer) == ("demo-ranker@1", "demo-summarizer@1")
    assert (board.cases, board.candidates, found.unscored) == (USERS, 1 + NEGATIVES, 0)
    assert {SERVICE, RANKER, TEXT_ONLY, RAW_HISTORY, "popularity", "ItemKNN"} <= {one.name for one in board.methods}
    assert f"{board.methods[0].auc.value * 100:.1f}" in (folder / "report.html").read_text()
    _, front, card = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["model-index"][0]["results"]
    assert "demo-ranker" in card
    assert yaml.safe_load((folder / ".eval_results/world.yaml").read_text())

    before = scored(ranker_server.url)
    monkeypatch.setattr(VllmServer, "start", no_start)
    again = evaluate()
    assert again.code == 0, again.err
    assert Evaluation.model_validate_json((reports(registry)[1] / "report.json").read_text()).boards == found.boards
    assert scored(ranker_server.url) == before

    asyncio.run(require_scores_of_production(registry, ranker_server.url, data, tmp_path / "answers"))


async def require_scores_of_production(registry: Registry, url: str, data: Path, answers: Path) -> None:
    """What the evaluation scored for its first case is what the engine of the gateway returns for it."""
    dataset = read_dataset(data)
    case = make_cases(dataset, PROTOCOL)[0]
    subject = Subject.of("demo-ranker", None, registry)
    with AnswerCache(answers) as cache:
        asked = await ask(subject, dataset, {"one": [case]}, {FULL: Condition()}, cache, answers, quiet)
        async with ModelServer(subject.summarizer, registry, None, answers / "log", quiet) as server:
            summarizer, views = Summarizer(server, cache, quiet), DatasetViews(dataset)
            described = await summarizer.describe(views, [*case.candidates, *(event.item_id for event in case.history)])
            views.summaries = described
            (summary,) = await summarizer.fold([views.events(case.history)], RECURRENT)
    assert summary.startswith("Likes ")
    items = {item_id: shown(dataset, item_id, described) for item_id in dataset.items}
    events = tuple(InteractionView(event.type, replace(items[event.item_id], image=None)) for event in case.history)
    candidates = [items[item_id] for item_id in case.candidates]
    settings = Settings(
        model_store=registry.root,
        ranker=RankerSettings(url=url, version="demo-ranker@1", timeout_s=300.0, connect_timeout_s=60.0),
    )
    engine, user = open_ranker(settings), UserView(summary, events)
    assert engine is not None
    try:
        expected = await engine.score(case.user_id, user, candidates, timeout_s=300)
        without = [replace(item, image=None) for item in candidates]
        blind = await engine.score(case.user_id, user, without, timeout_s=300)
    finally:
        await engine.close()
    assert asked.scores["one"][FULL] == [pytest.approx(expected, abs=1e-4)]
    assert len({round(score or 0, 3) for score in expected}) > 1
    assert expected != pytest.approx(blind, abs=1e-3), "the pictures change nothing"


def shown(dataset: Dataset, item_id: str, described: dict[str, str]) -> ItemView:
    item = dataset.items[item_id]
    picture = item.image.read_bytes() if item.image else None
    return ItemView(item.title, item.genres, item.tags, item.description, described.get(item_id, ""), picture)
