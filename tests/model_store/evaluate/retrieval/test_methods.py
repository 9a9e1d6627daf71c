from array import array

import numpy as np

from model_store.cooccurrence import Cooccurrence
from model_store.data.dataset import Dataset, DatasetItem, Interaction
from model_store.evaluate.metrics import Floats
from model_store.evaluate.retrieval.cases import RetrievalCase
from model_store.evaluate.retrieval.methods import Embedded, Method, Retrieved, best, in_order, places_of
from model_store.evaluate.retrieval.staged import Staged
from model_store.evaluate.retrieval.vector_files import item_rows
from model_store.item_models.item_models import ItemModels
from model_store.item_models.item_weights import ItemWeights
from model_store.retrieval.shares import Shares
from tests.model_store.evaluate.worlds import like

GENRES = {"met": "drama", "partner": "war", "near": "war", "played": "drama", "hit": "war", "new": "war"}
ITEMS = list(GENRES)
CATALOGUE = {item: DatasetItem(item, item, genres=(genre,)) for item, genre in GENRES.items()}
COUNTS = Cooccurrence({"met": 5, "partner": 2, "played": 3, "hit": 9, "near": 1}, {"met": {"partner": 2}})


NOTHING = Cooccurrence({"met": 1}, {})


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
    method = Retrieved(lambda recents, seen: COUNTS.retrieve(recents, seen, 4), ITEMS)
    assert order(method(asked), asked) == ["partner", "hit", "played", "near"]


def test_an_item_counts_where_it_was_met_last_and_one_without_vector_is_not_found() -> None:
    rows = item_rows(ITEMS, ["met", "near", "hit", "played"], np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]))
    method = Embedded(rows)
    liked = case(like("met", kind="dislike"), like("hit", kind="dislike"), like("met"))
    assert order(method(liked), liked)[0] == "near"
    assert set(order(method(liked), liked)) == {"near", "played"}
    disliked = case(like("met"), like("met", kind="dislike"))
    assert order(method(disliked), disliked) == []


def stage(*ids: str) -> Method:
    return lambda _: in_order(ids, places_of(ITEMS))


MODELS = ItemModels(ItemWeights(("met", "hit"), array("I", [0, 0, 1]), array("I", [0]), array("f", [0.5])))
"""Who likes `met` likes `hit`; they know no other item."""


def staged(models: ItemModels, embedding: Method | None, shares: Shares, size: int) -> Staged:
    return Staged(Dataset(CATALOGUE, {}), COUNTS, models, embedding, size=size, seed=0, shares=shares)


def test_each_stage_has_its_share() -> None:
    asked = case(like("met"))
    shares = Shares(new=0.2, embedding=0.2, genre=0.2)
    everything = staged(MODELS, stage("near"), shares, 5)(asked)
    assert order(everything, asked) == ["hit", "near", "new", "partner", "played"]
    # Without anything known by item models, popular items of the user's genres have places.
    without = staged(ItemModels(), None, shares, 4)(asked)
    assert order(without, asked) == ["new", "played", "partner", "hit"]
    # Nobody liked it, so it is new whoever asks; a user who met it does not get it.
    met = case(like("met"), seen=frozenset({"new"}))
    assert order(staged(MODELS, stage("near"), shares, 5)(met), met) == ["hit", "near", "partner", "played"]


def test_the_embedding_finds_what_item_models_do_not_know_unless_these_find_nothing() -> None:
    shares = Shares(new=0, embedding=0.9)
    asked = case(like("met"))
    assert order(staged(MODELS, stage("hit", "near", "new"), shares, 2)(asked), asked) == ["near", "new"]
    assert order(staged(ItemModels(), stage("hit", "near", "new"), shares, 2)(asked), asked) == ["hit", "near"]
    unknown = case(like("played"))
    assert order(staged(MODELS, stage("hit", "near", "new"), shares, 2)(unknown), unknown) == ["hit", "near"]


def test_of_new_items_the_one_that_fits_best_comes_first() -> None:
    asked, shares = case(like("met")), Shares(new=0.5, embedding=0, genre=0)
    for seed in range(9):
        every = Staged(Dataset(CATALOGUE, {}), NOTHING, ItemModels(), stage("hit"), size=2, seed=seed, shares=shares)
        assert order(every(asked), asked)[0] == "hit"


def test_item_models_name_what_the_recents_speak_for() -> None:
    method = Retrieved(lambda recents, seen: MODELS.nearest(recents, 5, seen), ITEMS)
    assert order(method(case(like("met"))), case(like("met"))) == ["hit"]
    seen = case(like("met"), seen=frozenset({"hit"}))
    assert order(method(seen), seen) == []
