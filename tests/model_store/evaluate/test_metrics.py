import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.evaluate import metrics
from model_store.evaluate.metrics import TargetRanks, rank_targets

few_scores = st.lists(st.integers(0, 4), min_size=2, max_size=6)
case = few_scores.flatmap(lambda scores: st.tuples(st.just(scores), st.integers(0, len(scores) - 1)))
rank_metrics = st.sampled_from([metrics.hit_rate_at_k, metrics.ndcg_at_k, metrics.mrr_at_k])
users = st.lists(st.floats(-1, 1), min_size=1, max_size=30).map(np.array)


def one(scores: list[int], target: int) -> TargetRanks:
    return rank_targets([scores], [target])


def ranks_over_all_orders(scores: list[int], target: int) -> list[int]:
    orders = itertools.permutations(range(len(scores)))
    return [sorted(order, key=lambda i: -scores[i]).index(target) + 1 for order in orders]


@given(case)
def test_auc_is_the_chance_that_the_target_beats_a_negative(case: tuple[list[int], int]) -> None:
    scores, target = case
    others = scores[:target] + scores[target + 1 :]
    wins = [1.0 if scores[target] > other else 0.5 if scores[target] == other else 0.0 for other in others]
    assert metrics.auc(one(scores, target))[0] == pytest.approx(sum(wins) / len(wins))


@given(case, st.integers(1, 7))
def test_expected_ties_give_the_mean_over_all_orders_of_the_tied(case: tuple[list[int], int], k: int) -> None:
    scores, target = case
    ranks = ranks_over_all_orders(scores, target)

    def mean(gain: list[float]) -> float:
        return sum(gain) / len(gain)

    found = one(scores, target)
    assert metrics.hit_rate_at_k(found, k)[0] == pytest.approx(mean([float(r <= k) for r in ranks]))
    assert metrics.mrr_at_k(found, k)[0] == pytest.approx(mean([(r <= k) / r for r in ranks]))
    assert metrics.ndcg_at_k(found, k)[0] == pytest.approx(mean([(r <= k) / math.log2(1 + r) for r in ranks]))


@given(case, st.integers(1, 6), rank_metrics)
def test_metrics_stay_in_0_to_1_and_grow_with_k(case: tuple[list[int], int], k: int, metric) -> None:
    ranks = one(*case)
    smaller, larger = metric(ranks, k)[0], metric(ranks, k + 1)[0]
    assert 0 <= smaller <= larger + 1e-12 <= 1 + 2e-12


@given(case)
def test_turning_the_scores_around_turns_auc_around(case: tuple[list[int], int]) -> None:
    scores, target = case
    assert metrics.auc(one([-s for s in scores], target))[0] == pytest.approx(1 - metrics.auc(one(scores, target))[0])


def test_a_constant_score_is_worth_a_coin_toss() -> None:
    ranks = one([1] * 21, 3)
    assert metrics.auc(ranks)[0] == 0.5
    assert metrics.hit_rate_at_k(ranks, 5)[0] == pytest.approx(5 / 21)


def test_a_known_ranking_has_the_known_values() -> None:
    ranks = one([0.9, 0.1, 0.8, 0.3], 2)
    assert metrics.auc(ranks)[0] == pytest.approx(2 / 3)
    assert metrics.hit_rate_at_k(ranks, 1)[0] == 0
    assert metrics.ndcg_at_k(ranks, 5)[0] == pytest.approx(1 / math.log2(3))
    assert metrics.mrr_at_k(ranks, 5)[0] == 0.5


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="case 1 has a score that is not a number"):
        rank_targets([[1, 2], [1, math.nan]], [0, 0])
    with pytest.raises(ValueError, match="no negative"):
        rank_targets([[1]], [0])


def test_infinite_scores_are_ranked() -> None:
    assert metrics.auc(rank_targets([[-math.inf, 0, math.inf]], [0]))[0] == 0


@given(users, st.integers(0, 3))
def test_an_interval_holds_its_mean_and_depends_on_the_seed_alone(values: np.ndarray, seed: int) -> None:
    interval = metrics.confidence(values, resamples=400, seed=seed)
    assert values.min() - 1e-9 <= interval.low <= interval.high <= values.max() + 1e-9
    assert interval == metrics.confidence(values, resamples=400, seed=seed)


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    intervals = [metrics.confidence(rng.normal(size=80), resamples=300, seed=n) for n in range(300)]
    covered = sum(interval.low <= 0 <= interval.high for interval in intervals)
    assert 0.90 <= covered / 300 <= 0.98


def test_more_users_make_the_interval_narrower() -> None:
    values = np.random.default_rng(2).random(2000)
    few, many = metrics.confidence(values[:100]), metrics.confidence(values)
    assert many.high - many.low < (few.high - few.low) / 2


@given(users)
def test_a_method_does_not_differ_from_itself(values: np.ndarray) -> None:
    difference = metrics.paired_difference(values, values)
    assert (difference.mean, difference.low, difference.high) == (0, 0, 0)


def test_pairing_removes_what_both_methods_share() -> None:
    rng = np.random.default_rng(3)
    shared = rng.random(300)
    better = shared + 0.02 + 0.01 * rng.random(300)
    assert metrics.paired_difference(better, shared).low > 0
    assert metrics.confidence(better).low < metrics.confidence(shared).high
    with pytest.raises(ValueError, match="300 and 299 users"):
        metrics.paired_difference(shared, shared[:-1])


def test_latency_is_in_milliseconds() -> None:
    found = metrics.latency([n / 1000 for n in range(1, 101)])
    assert (found.calls, round(found.p50, 1), round(found.p95, 1), round(found.p99, 1)) == (100, 50.5, 95.0, 99.0)
    assert metrics.latency([]).calls == 0


def test_no_users_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no users"):
        metrics.confidence(np.array([]))


def slow_pooled_auc(scores: list[list[int]], targets: list[int]) -> float:
    own = [row[target] for row, target in zip(scores, targets, strict=True)]
    others = [value for row, target in zip(scores, targets, strict=True) for value in row[:target] + row[target + 1 :]]
    wins = [1.0 if mine > other else 0.5 if mine == other else 0.0 for mine in own for other in others]
    return sum(wins) / len(wins)


@given(st.lists(case, min_size=1, max_size=8))
def test_pooled_auc_compares_every_target_with_the_negatives_of_all_users(cases: list[tuple[list[int], int]]) -> None:
    scores, targets = [scores for scores, _ in cases], [target for _, target in cases]
    found = metrics.pooled_auc(scores, targets)
    assert found.mean == pytest.approx(slow_pooled_auc(scores, targets))
    assert 0 <= found.low <= found.high <= 1


def test_the_interval_of_pooled_auc_is_that_of_resampled_users() -> None:
    rng = np.random.default_rng(1)
    scores = [[float(value) for value in rng.normal(size=6) + offset] for offset in rng.normal(size=40)]
    found = metrics.pooled_auc(scores, [0] * 40)
    weights = metrics.resampled_users(40)[0]
    repeated = [row for row, count in zip(scores, weights, strict=True) for _ in range(count)]
    again = metrics.pooled_auc(repeated, [0] * len(repeated)).mean
    assert found.low - 0.1 < again < found.high + 0.1
    assert found.low < found.mean < found.high
