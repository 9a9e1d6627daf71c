"""What evaluation calls the service's order is the order of the service."""

from dataclasses import replace

import pytest

from model_store.demo import MODELS
from model_store.evaluate.item_vectors import learn_item_vectors
from model_store.evaluate.item_weights import learn_item_weights
from model_store.evaluate.likes import Likes
from model_store.evaluate.protocol import EvaluationCase
from model_store.evaluate.served import ServedBlend, near
from model_store.item_models.item_models import ItemModels
from model_store.registry.registry import Registry
from service.recommend.blend import blended
from tests.model_store.evaluate.worlds import like

REGISTRY = Registry(MODELS)
MANIFEST = REGISTRY.get("demo-ranker")


def test_probabilities_are_the_scores_of_the_service() -> None:
    items = list(ServedBlend.of(MANIFEST, REGISTRY).cooccurrence.counts)
    liked = [items[number : number + 12] for number in range(30)]
    learned = ItemModels(learn_item_weights(Likes(liked), ridge=1), learn_item_vectors(liked))
    blend = MANIFEST.blend.model_copy(update={"item_weights": 4.0, "item_vectors": 1.0})
    served = replace(ServedBlend.of(MANIFEST, REGISTRY), weights=blend, item_models=learned)
    candidates = (*items[10:30], "unknown")
    case = EvaluationCase("u", tuple(like(item) for item in items[:10]), items[10], candidates, 10)
    scores = [None if n == 3 else (n + 1) / 25 for n in range(len(candidates))]
    collaborative = dict(zip(candidates, served.collaborative(case), strict=True))
    assert any(collaborative.values())
    scores_near = dict(zip(candidates, learned.score(near(case.history), candidates), strict=True))
    assert any(one.item_weights < 0 for one in scores_near.values())
    assert any(one.item_vectors for one in scores_near.values())
    answer = blended(
        candidates,
        {item: score for item, score in zip(candidates, scores, strict=True) if score is not None},
        collaborative,
        {item: float(served.cooccurrence.counts.get(item, 0)) for item in candidates},
        scores_near,
        served.weights,
    )
    found = dict(zip(candidates, served.probabilities(case, scores), strict=True))
    for scored in answer:
        assert found[scored.item_id] == pytest.approx(scored.score)
    assert [scored.item_id for scored in answer] == sorted(found, key=found.__getitem__, reverse=True)


def test_without_a_part_its_weight_is_nothing() -> None:
    served = ServedBlend.of(MANIFEST, REGISTRY)
    without = served.without("collaborative", "mllm")
    assert (without.weights.collaborative, without.weights.mllm) == (0, 0)
    assert without.weights.popular == served.weights.popular
