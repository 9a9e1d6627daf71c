"""Guarantees of the blend."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.blend import logit, sigmoid
from model_store.item_models.item_models import ItemScores
from model_store.registry.manifest import Blend
from service.recommend.blend import Exploration, blended, without_model

weights = st.floats(0, 5)
blends = st.builds(
    Blend,
    bias=st.floats(-5, 5),
    mllm=weights,
    collaborative=weights,
    popular=weights,
    popular_discount=weights,
    item_weights=weights,
    item_vectors=weights,
)
near_scores = st.builds(ItemScores, st.floats(-10, 10), st.floats(-10, 10))
scores = st.floats(0, 1)
counts = st.floats(0, 1e6)
ids = st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=8)


def test_the_model_alone_gives_its_own_probability() -> None:
    (scored,) = blended(["i"], {"i": 0.83}, {}, {}, {}, Blend())
    assert scored.score == pytest.approx(0.83)


def score(blend: Blend, mllm: float | None, collaborative: float, popular: float, *near: float) -> float:
    model = {} if mllm is None else {"i": mllm}
    (scored,) = blended(["i"], model, {"i": collaborative}, {"i": popular}, {"i": ItemScores(*near)}, blend)
    return scored.score


def test_the_formula_is_that_of_the_manifest() -> None:
    blend = Blend(bias=0.1, mllm=0.5, collaborative=2.0, popular=0.25, item_weights=3.0, item_vectors=0.5)
    expected = 0.1 + 0.5 * math.log(0.8 / 0.2) + 2.0 * math.log1p(0.3) + 0.25 * math.log1p(40)
    expected += 0.5 * 1.5 - 3.0 * 0.2
    assert score(blend, 0.8, 0.3, 40, -0.2, 1.5) == pytest.approx(sigmoid(expected))


POPULAR = {"old": 100.0, "older": 50.0, "new": 0.0, "newer": 1.0}


BY_LIKES = Blend(popular=1.0)


def order(mllm: dict[str, float], newcomers: int) -> list[str]:
    return [
        one.item_id for one in blended(POPULAR, mllm, {}, POPULAR, {}, BY_LIKES, exploration=Exploration(newcomers, 10))
    ]


def test_an_item_that_few_users_met_is_judged_by_the_model_if_there_is_a_place_for_it() -> None:
    mllm = {"old": 0.6, "older": 0.6, "new": 0.95, "newer": 0.94}
    assert order(mllm, 0) == ["old", "older", "newer", "new"]
    assert order(mllm, 1) == ["new", "old", "older", "newer"]
    assert order(mllm, 2) == ["new", "newer", "old", "older"]
    assert order(mllm | {"new": 0.05}, 2)[-1] == "new"


def test_what_was_added_for_an_item_is_what_it_lacked_of_the_mean_evidence() -> None:
    scored = blended(POPULAR, dict.fromkeys(POPULAR, 0.5), {}, POPULAR, {}, BY_LIKES, exploration=Exploration(4, 10))
    added = {one.item_id: one.unmet for one in scored}
    mean = (math.log1p(100) + math.log1p(50)) / 2
    assert added["new"] == pytest.approx(mean)
    assert added["newer"] == pytest.approx(0.8 * (mean - math.log1p(1)))
    assert added["old"] == added["older"] == 0
    new = next(one for one in scored if one.item_id == "new")
    assert logit(new.score) == pytest.approx(mean)


def test_it_is_the_evidence_of_what_would_be_shown() -> None:
    scored = blended(POPULAR, dict.fromkeys(POPULAR, 0.5), {}, POPULAR, {}, BY_LIKES, exploration=Exploration(1, 1))
    added = {one.item_id: one.unmet for one in scored}
    assert (added["new"], added["newer"]) == (pytest.approx(math.log1p(100)), 0)


def test_without_a_score_of_the_model_or_items_that_users_met_nothing_is_added() -> None:
    assert order({"old": 0.6, "older": 0.6}, 4) == ["old", "older", "newer", "new"]
    alone = blended(["new", "newer"], {"new": 0.9}, {}, POPULAR, {}, BY_LIKES, exploration=Exploration(2, 10))
    assert [one.unmet for one in alone] == [0, 0]


def test_the_more_popular_the_candidates_are_the_less_popularity_counts() -> None:
    blend = Blend(mllm=1, popular=0.5, popular_discount=0.1)

    def gap(others: int) -> float:
        """Between the log-odds of two candidates among three others that so many users liked."""
        popular = {"few": 10.0, "many": 100.0} | {f"o{n}": float(others) for n in range(3)}
        found = {one.item_id: one.score for one in blended(popular, {}, {}, popular, {}, blend)}
        return logit(found["many"]) - logit(found["few"])

    gaps = [gap(others) for others in (0, 10, 100, 10**6)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > gaps[1] > gaps[3]
    assert gaps[3] == pytest.approx(0)
    mean = (math.log1p(10) + math.log1p(100)) / 5
    assert gaps[0] == pytest.approx((0.5 - 0.1 * mean) * (math.log1p(100) - math.log1p(10)))


@given(ids, blends, st.data())
def test_a_higher_score_of_the_model_or_of_other_users_never_costs_a_place(
    item_ids: list[str], blend: Blend, data: st.DataObject
) -> None:
    if not item_ids:
        return
    likes, model, together, near = (
        {item: data.draw(values) for item in item_ids} for values in (st.integers(0, 1000), scores, counts, near_scores)
    )
    risen = data.draw(st.sampled_from(item_ids))

    def place(model: dict[str, float], together: dict[str, float], near: dict[str, ItemScores]) -> int:
        return [one.item_id for one in blended(item_ids, model, together, likes, near, blend)].index(risen)

    before = place(model, together, near)
    assert place(model | {risen: max(model[risen], data.draw(scores))}, together, near) <= before
    assert place(model, together | {risen: together[risen] + data.draw(counts)}, near) <= before
    higher = ItemScores(*map(max, near[risen], data.draw(near_scores)))
    assert place(model, together, near | {risen: higher}) <= before


@given(blends, counts, counts)
def test_missing_features_count_nothing(blend: Blend, collaborative: float, popular: float) -> None:
    assert score(blend, None, collaborative, popular) == score(blend, 0.5, collaborative, popular)
    assert blended(["i"], {}, {}, {}, {}, blend)[0].score == sigmoid(blend.bias)


@given(blends, scores, scores, counts, counts)
def test_a_higher_feature_never_lowers_a_score(blend: Blend, low: float, high: float, few: float, many: float) -> None:
    low, high, few, many = min(low, high), max(low, high), min(few, many), max(few, many)
    assert score(blend, low, few, few) <= score(blend, high, few, few) + 1e-9
    assert score(blend, low, few, few) <= score(blend, low, many, few) + 1e-9
    if not blend.popular_discount:
        assert score(blend, low, few, few) <= score(blend, low, few, many) + 1e-9


@given(ids, blends, st.data())
def test_the_ranking_holds_every_candidate_once_best_first(
    item_ids: list[str], blend: Blend, data: st.DataObject
) -> None:
    known = st.dictionaries(st.sampled_from(item_ids), counts) if item_ids else st.just({})
    model = st.dictionaries(st.sampled_from(item_ids), scores) if item_ids else st.just({})
    near = st.dictionaries(st.sampled_from(item_ids), near_scores) if item_ids else st.just({})
    ranking = blended(item_ids, data.draw(model), data.draw(known), data.draw(known), data.draw(near), blend)
    assert sorted(scored.item_id for scored in ranking) == sorted(item_ids)
    found = [scored.score for scored in ranking]
    assert found == sorted(found, reverse=True)
    assert all(0 <= score <= 1 for score in found)


@given(ids, blends)
def test_without_features_the_given_order_is_kept(item_ids: list[str], blend: Blend) -> None:
    assert [scored.item_id for scored in blended(item_ids, {}, {}, {}, {}, blend)] == item_ids


def test_ties_are_broken_by_co_occurrence_and_popularity() -> None:
    ranking = blended(["new", "known", "near"], {}, {"near": 0.2}, {"near": 1, "known": 9}, {}, Blend())
    assert [scored.item_id for scored in ranking] == ["near", "known", "new"]


def test_without_the_model_a_blend_has_weights_for_the_other_features() -> None:
    fallback = without_model(Blend())
    assert fallback.collaborative > 0
    assert fallback.popular > 0
    for fitted in (Blend(collaborative=0.7), Blend(item_weights=0.7), Blend(item_vectors=0.7)):
        assert without_model(fitted) is fitted
