from array import array

import numpy as np

from model_store.cooccurrence import Cooccurrence
from model_store.data.dataset import Dataset, DatasetItem, Interaction
from model_store.evaluate.metrics import Floats
from model_store.evaluate.retrieval.cases import RetrievalCase
from model_store.evaluate.retrieval.methods import Embedded, Neighbours, best, in_order, places_of
from model_store.evaluate.retrieval.staged import Staged
from model_store.evaluate.retrieval.vector_files import item_rows
from model_store.item_models.item_weights import ItemWeights
from tests.model_store.evaluate.worlds import like

GENRES = {"met": "drama", "partner": "war", "near": "war", "played": "drama", "hit": "war", "new": "war"}
ITEMS = list(GENRES)
CATALOGUE = {item: DatasetItem(item, item, genres=(genre,)) for item, genre in GENRES.items()}
COUNTS = Cooccurrence({"met": 5, "partner": 2, "played": 3, "hit": 9, "near": 1}, {"met": {"partner": 2}})


def case(*history: Interaction, seen: frozenset[str] = frozenset()) -> RetrievalCase:
    return RetrievalCase("u", history, seen | {event.item_id for event in history}, "new")


def order(scores: Floats, asked: RetrievalCase) -> list[str]:
    return best(scores, ITEMS, asked, len(ITEMS))


def test_the_best_are_those_found_and_not_seen_in_the_order_of_a_list() -> None:
    scores = in_order(["hit", "met", "unknown", "near", "new"], places_of(ITEMS))
    assert order(scores, case(like("met"))) == ["hit", "near", "new"]
    assert best(scores, ITEMS, case(like("met")), 2) == ["hit", "near"]


def test_neighbours_of_recents_come_before_popular_items() -> None:
    asked = case(like("met"))
    assert order(Neighbours(COUNTS, ITEMS, 4)(asked), asked) == ["partner", "hit", "played", "near"]


def test_an_item_counts_where_it_was_met_last_and_one_without_vector_is_not_found() -> None:
    rows = item_rows(ITEMS, ["met", "near", "hit", "played"], np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]))
    method = Embedded(rows)
    liked = case(like("met", kind="dislike"), like("hit", kind="dislike"), like("met"))
    assert order(method(liked), liked)[0] == "near"
    assert set(order(method(liked), liked)) == {"near", "played"}
    disliked = case(like("met"), like("met", kind="dislike"))
    assert order(method(disliked), disliked) == []


def test_each_stage_has_its_places() -> None:
    asked = case(like("met"))

    def near(_: RetrievalCase) -> Floats:
        return in_order(["near"], places_of(ITEMS))

    dataset = Dataset(CATALOGUE, {})
    quotas = {"cooccurrence": 0.4, "embedding": 0.3, "popular_genre": 0.2, "new": 0.1}
    staged = Staged(dataset, COUNTS, ItemWeights(), near, size=5, seed=0, quotas=quotas)
    assert order(staged(asked), asked) == ["partner", "near", "played", "new", "hit"]
    without = Staged(dataset, COUNTS, ItemWeights(), None, size=4, seed=0, quotas=quotas)
    assert order(without(asked), asked) == ["partner", "played", "new", "hit"]
    weights = ItemWeights(("met", "near"), array("I", [0, 0, 1]), array("I", [0]), array("f", [0.5]))
    weighted = Staged(dataset, COUNTS, weights, None, size=4, seed=0, quotas={"item_weights": 0.9, **quotas})
    assert order(weighted(asked), asked)[0] == "near"
    # Nobody liked it, so it is new whoever asks; a user who met it does not get it.
    met = case(like("met"), seen=frozenset({"new"}))
    assert order(staged(met), met) == ["partner", "near", "played", "hit"]
