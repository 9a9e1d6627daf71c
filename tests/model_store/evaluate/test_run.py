from dataclasses import replace
from pathlib import Path

import pytest

from model_store.errors import UserError
from model_store.evaluate import report
from model_store.evaluate.answers import AnswerCache
from model_store.evaluate.baselines import EASE, ITEM_KNN, POPULARITY
from model_store.evaluate.facts import data_facts
from model_store.evaluate.protocol import Protocol
from model_store.evaluate.results import Board, Evaluation
from model_store.evaluate.run import RANKER, RAW_HISTORY, SERVICE, TEXT_ONLY, Plan, evaluate
from model_store.evaluate.subject import Subject
from model_store.progress import quiet
from tests.model_store.engine.fake_vllm import FakeVllm
from tests.model_store.evaluate.asked import asked, make_store, subject
from tests.model_store.evaluate.worlds import world, write_world

DATASET = world()
PLAN = Plan(
    {name: Protocol(name, n_negatives=10) for name in ("uniform", "popular")},  # type: ignore[arg-type]
    baselines=(POPULARITY, ITEM_KNN, EASE),
    command="tastestream evaluate tiny-ranker",
)


async def run(fake: FakeVllm, folder: Path, plan: Plan = PLAN, against: bool = False) -> Evaluation:
    registry = make_store(folder / "store")
    found = subject(registry, fake)
    others = [found] if against else []
    facts = data_facts(write_world(DATASET, folder / "data"), DATASET)
    with AnswerCache(folder / "answers") as cache:
        return await evaluate(DATASET, facts, found, others, plan, cache, folder, quiet)


def names(board: Board) -> list[str]:
    return [method.name for method in board.methods]


async def test_all_methods_rank_the_same_cases_of_every_protocol(fake: FakeVllm, tmp_path: Path) -> None:
    found = await run(fake, tmp_path)
    assert [board.protocol for board in found.boards] == ["uniform", "popular"]
    for board in found.boards:
        assert board.cases > 10
        assert {SERVICE, RANKER, POPULARITY, ITEM_KNN, EASE, RAW_HISTORY} <= set(names(board))
        ranker = next(method for method in board.methods if method.name == RANKER)
        # It knows which half of the items the user likes.
        assert ranker.auc.value > 0.7
        assert ranker.auc.low <= ranker.auc.value <= ranker.auc.high
        assert ranker.calibration is not None
    assert found.unscored == found.unanswered == 0


async def test_baselines_rank_the_whole_catalogue_once_for_the_same_targets(fake: FakeVllm, tmp_path: Path) -> None:
    uniform, popular = (await run(fake, tmp_path)).boards
    assert {row.method for row in uniform.catalogue} == {POPULARITY, ITEM_KNN, EASE}
    assert popular.catalogue == []
    for row in uniform.catalogue:
        # All but the eleven events before the target.
        assert row.items == len(DATASET.items) - 11
        assert row.recall[10].value <= row.recall[50].value


async def test_a_repeated_run_asks_nothing_and_finds_the_same(fake: FakeVllm, tmp_path: Path) -> None:
    first = await run(fake, tmp_path)
    before = len(fake.requests)
    with AnswerCache(tmp_path / "answers") as cache:
        again = await evaluate(
            DATASET, first.data, subject(make_store(tmp_path / "other"), fake), [], PLAN, cache, tmp_path, quiet
        )
    assert again.boards == first.boards
    assert len(fake.requests) == before


async def test_protocols_share_the_summaries(fake: FakeVllm, tmp_path: Path) -> None:
    await run(fake, tmp_path, replace(PLAN, protocols={"uniform": PLAN.protocols["uniform"]}))
    before = len(asked(fake, "/v1/chat/completions"))
    with AnswerCache(None) as cache:
        facts = data_facts(tmp_path / "data", DATASET)
        found = subject(make_store(tmp_path / "other"), fake)
        await evaluate(DATASET, facts, found, [], PLAN, cache, tmp_path, quiet)
    # A few more, since users whose first events are the same may be asked for at the same time.
    assert before < len(asked(fake, "/v1/chat/completions")) < 2.5 * before


async def test_ablations_are_compared_with_the_whole(fake: FakeVllm, tmp_path: Path) -> None:
    found = await run(fake, tmp_path, replace(PLAN, ablated=True, block_sizes=(1, 3)))
    board = found.boards[0]
    conditions = {one.name for one in board.ablations if one.of == RANKER}
    assert conditions == {
        "summary only",
        "recents only",
        "neither summary nor recents",
        "direct summary",
        "blocks of 1",
    }
    blind = next(one for one in board.ablations if one.of == RANKER and one.name == "neither summary nor recents")
    full = next(method for method in board.methods if method.name == RANKER)
    assert blind.difference.value == pytest.approx(blind.auc.value - full.auc.value)
    assert blind.difference.high < 0
    assert {"without collaborative evidence", "without the ranker"} <= {one.name for one in board.ablations}


async def test_data_without_pictures_has_no_conditions_about_pictures(fake: FakeVllm, tmp_path: Path) -> None:
    board = (await run(fake, tmp_path)).boards[0]
    assert TEXT_ONLY not in names(board)


async def test_other_inputs_are_asked_only_if_they_are_wanted(fake: FakeVllm, tmp_path: Path) -> None:
    for name in ("all", "none"):
        (tmp_path / name).mkdir()
    await run(fake, tmp_path / "all")
    of_all = len(fake.requests)
    board = (await run(fake, tmp_path / "none", replace(PLAN, inputs=()))).boards[0]
    assert RAW_HISTORY not in names(board)
    assert len(fake.requests) - of_all < of_all


async def test_another_version_is_paired_with_this_one(fake: FakeVllm, tmp_path: Path) -> None:
    board = (await run(fake, tmp_path, against=True)).boards[0]
    (pair,) = (one for one in board.differences if one.baseline == f"tiny-ranker@1, {RANKER}")
    assert pair.method == RANKER
    assert (pair.auc.value, pair.auc.low, pair.auc.high) == (0, 0, 0)


async def test_seeds_draw_other_candidates_of_the_same_protocols(fake: FakeVllm, tmp_path: Path) -> None:
    found = await run(fake, tmp_path, replace(PLAN, seeds=(0, 1), baselines=(POPULARITY,)))
    assert [(board.protocol, board.seed) for board in found.boards] == [
        ("uniform", 0),
        ("uniform", 1),
        ("popular", 0),
        ("popular", 1),
    ]
    first, second = found.boards[:2]
    assert first.methods != second.methods
    ranker = next(row for row in found.spread if (row.protocol, row.method) == ("uniform", RANKER))
    assert ranker.mean == pytest.approx(sum(ranker.values) / 2)
    assert [board.seed for board in found.first] == [0, 0]


async def test_a_ranker_that_may_know_the_users_is_named(fake: FakeVllm, tmp_path: Path) -> None:
    board = (await run(fake, tmp_path)).boards[0]
    assert any("does not say that training left these users out" in warning for warning in board.warnings)


async def test_the_files_of_a_report_can_be_read_again(fake: FakeVllm, tmp_path: Path) -> None:
    found = await run(fake, tmp_path, replace(PLAN, ablated=True, block_sizes=(1,)))
    files = report.files(found, make_store(tmp_path / "other").get("tiny-ranker"))
    assert Evaluation.model_validate_json(files["report.json"]) == found
    assert set(files) == {"report.html", "report.json", "README.md", ".eval_results/data.yaml"}


class TestSubject:
    def test_a_version_of_another_role_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="tiny-summarizer@1 is a summarizer, not a ranker"):
            Subject.of("tiny-summarizer", None, make_store(tmp_path / "store"))
        with pytest.raises(UserError, match="is a ranker, not a summarizer"):
            Subject.of("tiny-ranker", "tiny-ranker", make_store(tmp_path / "other"))

    def test_an_unknown_version_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no version 'tiny-ranker@7'"):
            Subject.of("tiny-ranker@7", None, make_store(tmp_path / "store"))

    def test_a_family_without_a_summarizer_needs_one_by_name(self, tmp_path: Path) -> None:
        registry = make_store(tmp_path / "store")
        registry.add(
            registry.get("tiny-ranker").model_copy(update={"name": "lone-ranker", "weights": "tiny-ranker/1/weights"}),
            registry.prompts(registry.get("tiny-ranker")).folder,
        )
        with pytest.raises(UserError, match="--summarizer"):
            Subject.of("lone-ranker", None, registry)
        assert Subject.of("lone-ranker", "tiny-summarizer", registry).summarizer.id == "tiny-summarizer@1"


async def test_a_server_of_another_version_is_refused(fake: FakeVllm, tmp_path: Path) -> None:
    found = subject(make_store(tmp_path / "store"), fake)
    fake.replies["/v1/models"] = lambda _: (200, {"data": [{"id": "other@1"}]})
    facts = data_facts(write_world(DATASET, tmp_path / "data"), DATASET)
    with AnswerCache(None) as cache, pytest.raises(UserError, match="serves other@1, not tiny-summarizer@1"):
        await evaluate(DATASET, facts, found, [], PLAN, cache, tmp_path, quiet)
