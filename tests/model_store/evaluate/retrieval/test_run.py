from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.data.dataset import Dataset
from model_store.errors import UserError
from model_store.evaluate.baselines import EASE, ITEM_KNN, POPULARITY
from model_store.evaluate.metrics import hit_rate_at_k
from model_store.evaluate.retrieval.cases import RetrievalCase, RetrievalProtocol
from model_store.evaluate.retrieval.run import (
    COOCCURRENCE,
    RANDOM,
    RECALL_AT,
    RetrievalPlan,
    RetrievalTable,
    evaluate_retrieval,
    target_ranks,
)
from model_store.evaluate.retrieval.vector_files import ItemRows, item_rows
from model_store.progress import quiet
from tests.model_store.evaluate.worlds import like, world

ITEMS = ["a", "b", "c", "d", "e"]
QUICK = (RANDOM, POPULARITY, COOCCURRENCE, ITEM_KNN, EASE)
LARGE = world(users=400, items=400, length=20)
"""Even users like even items, odd users odd ones."""


def case(seen: str, target: str) -> RetrievalCase:
    return RetrievalCase("u", (like("a"),), frozenset(seen), target)


def rank(scores: list[float], seen: str, target: str) -> tuple[int, int, int]:
    found = target_ranks(lambda _: np.array(scores), [case(seen, target)], ITEMS, lambda _: None)
    return int(found.above[0]), int(found.tied[0]), int(found.negatives[0])


def test_seen_items_are_no_competitors() -> None:
    assert rank([9, 8, 7, 6, 5], "ab", "d") == (1, 0, 2)


def test_what_is_not_found_is_in_no_list_however_long() -> None:
    scores = np.array([1, -np.inf, -np.inf, -np.inf, 2])
    found = target_ranks(lambda _: scores, [case("a", "b")], ITEMS, lambda _: None)
    assert hit_rate_at_k(found, max(RECALL_AT)).tolist() == [0.0]
    many = [str(number) for number in range(1000)]
    found = target_ranks(lambda _: np.full(1000, -np.inf), [case("0", "1")], many, lambda _: None)
    assert (found.above.tolist(), found.tied.tolist(), found.negatives.tolist()) == ([998], [0], [998])


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        rank([1, 2, 3, 4, np.nan], "a", "b")


@given(st.lists(st.integers(0, 3).map(float), min_size=5, max_size=5), st.sets(st.sampled_from("abcd")))
def test_ranks_count_the_unseen_items(scores: list[float], seen: set[str]) -> None:
    others = [score for item, score in zip(ITEMS, scores, strict=True) if item not in seen and item != "e"]
    expected = (sum(one > scores[4] for one in others), others.count(scores[4]), len(others))
    assert rank(scores, "".join(seen), "e") == expected


def tastes(items: list[str]) -> ItemRows:
    """Vectors that know the two tastes and nothing else, apart from a little noise."""
    noise = np.random.default_rng(0).normal(scale=0.01, size=(len(items), 8))
    noise[:, 0] += [1.0 if int(item[1:]) % 2 else -1.0 for item in items]
    return item_rows(items, items, noise)


@pytest.fixture(scope="module")
def tables() -> dict[str, RetrievalTable]:
    plan = RetrievalPlan(RetrievalProtocol(cold_share=0.3), QUICK, {"tastes": tastes(list(LARGE.items))})
    found = evaluate_retrieval(LARGE, plan, quiet)
    assert found.items == 400
    return {table.kind: table for table in found.tables}


def recall(table: RetrievalTable, method: str, k: int = 100) -> float:
    return next(row.recall[k].mean for row in table.rows if row.method == method)


def test_chance_finds_k_of_all_unseen_items(tables: dict[str, RetrievalTable]) -> None:
    for table in tables.values():
        assert recall(table, RANDOM) == pytest.approx(100 / 400, rel=0.1)
        assert recall(table, RANDOM, 10) == pytest.approx(10 / 400, rel=0.1)


def test_only_what_knows_the_items_themselves_finds_hidden_ones(tables: dict[str, RetrievalTable]) -> None:
    cold = tables["cold"]
    for method in (COOCCURRENCE, ITEM_KNN, EASE):
        assert recall(cold, method) < recall(cold, RANDOM)
    # Of the 200 items of the taste, 100 are named.
    assert recall(cold, "tastes") > 1.5 * recall(cold, RANDOM)
    assert recall(cold, "all stages, tastes") > recall(cold, COOCCURRENCE)


def test_what_others_liked_finds_the_others(tables: dict[str, RetrievalTable]) -> None:
    for method in (COOCCURRENCE, ITEM_KNN, EASE, "all stages, no embedding"):
        assert recall(tables["warm"], method) > 1.5 * recall(tables["warm"], RANDOM)


def test_differences_are_from_the_reference(tables: dict[str, RetrievalTable]) -> None:
    for row in tables["warm"].rows:
        if row.method == EASE:
            assert row.difference is None
        else:
            assert row.difference is not None
            expected = row.recall[100].mean - recall(tables["warm"], EASE)
            assert row.difference.mean == pytest.approx(expected)


def test_words_alone_find_hidden_items() -> None:
    items = {
        item.item_id: replace(item, title="red round apple" if int(item.item_id[1:]) % 2 else "long blue river")
        for item in LARGE.items.values()
    }
    plan = RetrievalPlan(RetrievalProtocol(cold_share=0.3), ("TF-IDF + SVD",))
    warm, cold = evaluate_retrieval(Dataset(items, LARGE.histories), plan, quiet).tables
    assert recall(cold, "TF-IDF + SVD") > 0.4
    assert {row.difference for row in warm.rows} == {None}


def test_data_without_a_common_word_is_refused_before_other_methods_are_fitted() -> None:
    items = {
        item.item_id: replace(item, title=f"红{item.item_id}", genres=(), tags=()) for item in LARGE.items.values()
    }
    fitted: list[str] = []
    with pytest.raises(UserError, match="no word that two items share"):
        evaluate_retrieval(
            Dataset(items, LARGE.histories),
            RetrievalPlan(methods=(EASE, "TF-IDF + SVD")),
            lambda stage, _done, _note: fitted.append(stage),
        )
    assert not [stage for stage in fitted if EASE in stage]


def test_data_without_likes_of_training_users_is_refused() -> None:
    testers = {user: LARGE.histories[user] for user in LARGE.users("test")}
    with pytest.raises(UserError, match="nothing can be learned"):
        evaluate_retrieval(replace(LARGE, histories=testers), RetrievalPlan(methods=QUICK), quiet)
