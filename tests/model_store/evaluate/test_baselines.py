import pytest

from model_store.data.dataset import Dataset, user_split
from model_store.evaluate.baselines import ITEM_KNN, POPULARITY, ItemKNN, Popularity, baseline_scores
from model_store.evaluate.compare import difference, evaluate_scores
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import Protocol, make_cases
from tests.model_store.evaluate.worlds import world

LIKED = [["a", "b"], ["a", "b", "c"], ["c", "d"], ["d"], ["d"]]


def test_popularity_counts_users() -> None:
    assert Popularity(Likes(LIKED)).score(["a"], ["a", "d", "unknown"]) == [2, 3, 0]


def test_item_knn_sums_cosines() -> None:
    scores = ItemKNN(Likes(LIKED)).score(["a", "unknown"], ["b", "c", "d", "unknown"])
    assert scores == pytest.approx([1, 1 / 2, 0, 0], abs=1e-6)


def test_item_knn_breaks_ties_by_popularity() -> None:
    b, d, unknown = ItemKNN(Likes(LIKED)).score([], ["b", "d", "unknown"])
    assert d > b > unknown == 0


def test_item_knn_counts_a_repeated_recent_once() -> None:
    knn = ItemKNN(Likes(LIKED))
    assert knn.score(["a", "a"], ["b", "c"]) == knn.score(["a"], ["b", "c"])


def test_item_knn_finds_the_tastes_that_popularity_cannot() -> None:
    dataset = world(users=600)
    cases = make_cases(dataset, Protocol())
    scores = baseline_scores(dataset, cases)
    table = evaluate_scores(cases, scores)
    assert table.rows[ITEM_KNN].auc.low > table.rows[POPULARITY].auc.high
    assert difference(cases, scores, ITEM_KNN, POPULARITY).auc.low > 0


def test_baselines_learn_nothing_from_test_users() -> None:
    dataset = world()
    cases = make_cases(dataset, Protocol())
    train = {user: events for user, events in dataset.histories.items() if user_split(user) == "train"}
    assert baseline_scores(Dataset(dataset.items, train), cases) == baseline_scores(dataset, cases)


def test_a_table_summarizes_every_method_in_percent() -> None:
    dataset = world()
    cases = make_cases(dataset, Protocol())
    perfect = [[float(item == case.target) for item in case.candidates] for case in cases]
    summary = evaluate_scores(cases, {"oracle": perfect, "nothing": [[0.0] * 21 for _ in cases]}).summary()
    assert (summary["oracle"]["auc"], summary["oracle"]["hr_5"], summary["oracle"]["ndcg_5"]) == (100, 100, 100)
    assert summary["nothing"]["auc"] == 50


def test_scores_for_another_number_of_cases_are_refused() -> None:
    cases = make_cases(world(), Protocol())
    with pytest.raises(ValueError, match=r"shorter|longer"):
        evaluate_scores(cases, {"short": [[0.0] * 21]})
