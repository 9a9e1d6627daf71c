import re
from datetime import UTC, datetime

import pytest
import yaml

from model_store.demo import MODELS
from model_store.evaluate import report, results
from model_store.evaluate.board import Ablation, Method, ablation_result, difference, method_result, stratum_results
from model_store.evaluate.protocol import EvaluationCase
from model_store.evaluate.results import Evaluation
from model_store.registry.registry import Registry

CASES = [EvaluationCase(f"u{n}", (), "b", ("a", "b", "c"), n) for n in range(60)]
GOOD = Method("service (blend)", "service", [[0.2, 0.7, 0.1 + n / 100] for n in range(60)], probabilities=True)
BAD = Method("<script>alert(1)</script>", "baseline", [[0.5, 0.5, 0.5]] * 60)


def evaluation(name: str = "films") -> Evaluation:
    board = results.Board(
        protocol="popular",
        seed=0,
        description="last liked item among 2 popular negatives, test users",
        cases=60,
        candidates=3,
        methods=[method_result(CASES, method, (1, 2)) for method in (GOOD, BAD)],
        differences=[difference(CASES, GOOD, BAD)],
        strata=stratum_results(CASES, [GOOD], {"b": 9}),
        ablations=[ablation_result(CASES, Ablation(GOOD, "without something", BAD.scores))],
    )
    facts = results.DataFacts(name=name, sha256="ab" * 32, items=3, pictures=0, users=60, interactions=99)
    return Evaluation(
        version="demo-ranker@1",
        summarizer="demo-summarizer@1",
        against=[],
        data=facts,
        folding="recurrent, blocks of 3",
        history=50,
        seeds=[0],
        created=datetime(2026, 11, 27, tzinfo=UTC),
        command="tastestream evaluate demo-ranker --data films",
        seconds=1.0,
        software={"vllm": "0.32.0"},
        training={"base": "from scratch"},
        boards=[board],
    )


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    written = report.files(evaluation(), Registry(MODELS).get("demo-ranker"))
    return {path: content.decode() for path, content in written.items()}


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(files: dict[str, str]) -> None:
    page = files["report.html"]
    assert not re.search(r"<(script|link|img|iframe|object)\b", page)
    assert not re.search(r"(?:src|href)=[\"'](?!#)", page)
    assert not re.search(r"url\((?![\"']?#)", page)
    assert "default-src 'none'" in page


def test_names_are_escaped(files: dict[str, str]) -> None:
    assert "alert(1)" in files["report.html"]
    assert "<script" not in files["report.html"]


def test_the_page_has_every_figure_with_its_interval(files: dict[str, str]) -> None:
    for method in evaluation().boards[0].methods:
        for estimate in (method.auc, method.pooled_auc, *method.hit_rate.values(), *method.ndcg.values()):
            assert (
                f"{100 * estimate.value:.1f} <small>{100 * estimate.low:.1f} .. {100 * estimate.high:.1f}"
                in files["report.html"]
            )


def test_plots_take_the_colours_of_the_page(files: dict[str, str]) -> None:
    drawn = re.findall(r"<svg.*?</svg>", files["report.html"], re.DOTALL)
    assert len(drawn) == 4
    assert all("var(--ink)" in svg and "#000000" not in svg for svg in drawn)


def test_the_same_evaluation_gives_the_same_files(files: dict[str, str]) -> None:
    again = report.files(evaluation(), Registry(MODELS).get("demo-ranker"))
    assert {path: content.decode() for path, content in again.items()} == files


def test_the_model_card_has_a_model_index(files: dict[str, str]) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(files["README.md"])
    found = {(result.metric_type, result.metric_value) for result in card.data.eval_results}
    method = evaluation().boards[0].methods[0]
    assert ("roc_auc", round(100 * method.auc.value, 2)) in found
    assert ("hit_rate_at_1", round(100 * method.hit_rate[1].value, 2)) in found
    assert card.data.model_name == "demo-ranker@1"


def test_eval_results_are_entries_of_the_hub(files: dict[str, str]) -> None:
    from huggingface_hub import parse_eval_result_entries

    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/films.yaml"]))
    assert (entry.dataset_id, entry.task_id) == ("films", "popular")
    assert entry.value == round(100 * evaluation().boards[0].methods[0].auc.value, 2)
