"""The items for which the item models of a version speak most, of all that they know."""

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.item_models.item_models import NEAREST, ItemModels
from model_store.item_models.item_vectors import ItemVectors
from model_store.item_models.item_weights import ItemWeights

BOTH, ALONE = [f"i{n}" for n in range(12)], ["only weights", "only vectors"]
ITEMS = [*BOTH, *ALONE]
RNG = np.random.default_rng(0)


def weights() -> ItemWeights:
    """Each item has a weight for each other one."""
    items = [*BOTH, ALONE[0]]
    others = [other for place in range(len(items)) for other in range(len(items)) if other != place]
    starts = range(0, len(others) + 1, len(items) - 1)
    values = RNG.normal(scale=0.05, size=len(others)).tolist()
    return ItemWeights(tuple(items), array("I", starts), array("I", others), array("f", values))


def vectors() -> ItemVectors:
    items = [ALONE[1], *reversed(BOTH)]
    return ItemVectors(tuple(items), array("f", RNG.normal(size=len(items) * 4).tolist()), array("f", [1.0, 0.5]))


MODELS = ItemModels(weights(), vectors())


def summed(recents: list[str]) -> dict[str, float]:
    """The same by the scores of candidates."""
    scores = MODELS.score(recents, ITEMS)
    return {
        item: NEAREST.item_weights * own.item_weights + NEAREST.item_vectors * own.item_vectors
        for item, own in zip(ITEMS, scores, strict=True)
    }


@given(
    st.lists(st.sampled_from([*ITEMS, "unknown"]), unique=True),
    st.sets(st.sampled_from([*ITEMS, "unknown"])),
    st.integers(0, 20),
)
def test_the_nearest_are_those_with_the_highest_positive_sums(
    recents: list[str], exclude: set[str], count: int
) -> None:
    scores = summed(recents)
    best = sorted((score for item, score in scores.items() if score > 1e-5 and item not in exclude), reverse=True)
    found = [item for item in MODELS.nearest(recents, count, exclude) if scores[item] > 1e-5]
    assert [scores[item] for item in found] == pytest.approx(best[:count], abs=1e-4)
    assert not set(found) & exclude
    assert len(found) == len(set(found))


def test_each_model_alone_names_its_own_items() -> None:
    assert set(ItemModels(item_weights=MODELS.item_weights).known) == {*BOTH, ALONE[0]}
    assert set(ItemModels(item_vectors=MODELS.item_vectors).known) == {*BOTH, ALONE[1]}
    assert set(MODELS.known) == set(ITEMS)
    for alone in (ItemModels(item_weights=MODELS.item_weights), ItemModels(item_vectors=MODELS.item_vectors)):
        (model,) = alone.present().values()
        best = max(model.items, key=lambda item: model.score(["i0"], [item])[0])
        assert alone.nearest(["i0"], 1) == [best]


def test_without_models_or_known_recents_nothing_is_near() -> None:
    empty = ItemModels()
    empty.prepare()
    assert empty.nearest(["i0"], 5) == ItemModels(ItemWeights(), ItemVectors()).nearest(["i0"], 5) == []
    assert MODELS.nearest(["unknown"], 5) == MODELS.nearest([], 5) == []
