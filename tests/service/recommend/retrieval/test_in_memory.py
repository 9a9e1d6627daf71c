"""Items near to a user's recents, and popular items of genres."""

import time
from array import array
from collections.abc import Collection, Sequence

import numpy as np

from model_store.item_models.item_models import ItemModels
from model_store.item_models.item_weights import ItemWeights
from model_store.signals import BUILT_IN
from service.index.exact import ExactIndex
from service.index.rows import Rows
from service.index.searcher import Searcher
from service.index.vector_index import VectorIndex
from service.metrics import Metrics
from service.recommend.deadline import Deadline
from service.recommend.retrieval.in_memory import Personal, find_in_memory, interests_of
from service.recommend.retrieval.popular_genres import PopularGenres, PopularInGenres
from service.state.records import Event, Item
from tests.service.conftest import Gateway
from tests.service.index.faults import Remote
from tests.service.recommend.asking import fill

AXES = np.eye(4, dtype=np.float32)


def index_of(**vectors: list[float]) -> ExactIndex:
    index = ExactIndex("shop-embedder@1", 4, np.float32)
    rows = np.array(list(vectors.values()), dtype=np.float32)
    index.upsert(list(vectors), rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return index


INDEX = index_of(
    tea=[1, 0, 0, 0], pot=[9, 1, 0, 0], jug=[8, 2, 0, 0], hat=[0, 1, 0, 0], cap=[0, 9, 1, 0], saw=[0, 0, 0, 1]
)

SEARCHER = Searcher(Metrics())


def event(item: str, kind: str = "like") -> Event:
    return Event("", "u", item, kind, 0)


async def found(
    *recents: Event,
    count: int = 3,
    avoided: Collection[str] = (),
    models: ItemModels | None = None,
    new: Sequence[str] = (),
    index: VectorIndex = INDEX,
) -> Personal:
    near, deadline = [event.item_id for event in recents if event.type == "like"], Deadline(time.monotonic(), 60.0)
    return await find_in_memory(
        index, SEARCHER, models or ItemModels(), recents, near, new, BUILT_IN, count, avoided, deadline
    )


async def test_items_near_to_each_interest_are_found_without_those_to_avoid() -> None:
    recents = [event("hat"), event("tea"), event("of no catalogue")]
    assert set((await found(*recents, avoided={"tea", "hat"})).embedded) == {"pot", "jug", "cap"}
    assert set((await found(*recents, avoided={"tea", "hat", "pot"})).embedded) == {"jug", "cap", "saw"}
    assert len((await found(*recents, count=2)).embedded) == 2


async def test_without_recents_or_known_items_nothing_is_found() -> None:
    for recents in ([], [event("of no catalogue")], [event("tea", "dislike")]):
        personal = await found(*recents, new=["hat", "pot"])
        assert (list(personal.embedded), personal.new) == ([], ["hat", "pot"])


MODELS = ItemModels(
    ItemWeights(("tea", "mug", "pot"), array("I", [0, 0, 1, 2]), array("I", [0, 0]), array("f", [0.5, -0.5]))
)
"""Who likes tea likes mugs and no pots."""


async def test_item_models_find_what_the_recents_speak_for() -> None:
    assert (await found(event("tea"), models=MODELS)).known == ["mug"]
    assert (await found(event("tea"), models=MODELS, avoided={"mug"})).known == []
    assert not (await found(event("tea", "dislike"), models=MODELS)).known


async def test_vectors_find_what_item_models_do_not_know_unless_these_find_nothing() -> None:
    seen = {"tea", "hat"}
    assert (await found(event("tea"), avoided=seen)).embedded[:2] == ["pot", "jug"]
    assert (await found(event("tea"), avoided=seen, models=MODELS)).embedded[:1] == ["jug"]
    assert (await found(event("tea"), avoided=seen, models=MODELS, count=1)).embedded == ["jug"]
    assert (await found(event("tea"), avoided={*seen, "mug"}, models=MODELS)).embedded[:2] == ["pot", "jug"]


async def test_without_the_index_item_models_find_what_they_know() -> None:
    index = Remote(INDEX)
    index.fault = "fails"
    personal = await found(event("tea"), models=MODELS, new=["saw", "pot"], index=index)
    assert personal == Personal(["mug"], new=["saw", "pot"], vectors_unavailable=True)


async def test_new_items_that_fit_take_turns_with_the_others() -> None:
    personal = await found(event("tea"), new=["saw", "hat", "unknown", "jug", "pot"])
    assert personal.new == ["pot", "saw", "jug", "hat", "unknown"]


def test_the_last_event_says_whether_an_item_is_liked() -> None:
    rows = Rows.read(INDEX, ["tea"])
    assert len(interests_of(rows, [event("tea", "dislike"), event("tea", "like")], BUILT_IN).weights) == 1
    assert len(interests_of(rows, [event("tea", "like"), event("tea", "dislike")], BUILT_IN).weights) == 0


async def test_popular_items_of_the_genres_of_the_recents_are_named_and_for_new_users_those_of_all(
    gateway: Gateway,
) -> None:
    items = [{"item_id": f"{genre}{n}", "title": "T", "genres": [genre]} for genre in ("tea", "hat") for n in range(3)]
    assert (await gateway.ask("POST", "/items", items)).json()["accepted"] == 6
    for likes, item in enumerate(("hat0", "tea1", "tea0", "hat1")):
        for _ in range(9 - likes):
            await gateway.store.cooccurrence.record([item], [])
    popular = PopularGenres(gateway.store)
    await popular.refresh()
    assert popular.of(["tea"]) == ["tea1", "tea0"]
    assert popular.diverse() == ["hat0", "tea1", "hat1", "tea0"]

    stage = PopularInGenres(popular, 0.05, most=2)
    stage.begin(["tea0", "gone"], {"tea0"})
    assert not stage.done
    stage.know({"tea0": Item("tea0", "T", genres=("tea",))})
    assert (list(stage.ids), stage.done, stage.most) == (["tea1", "tea0"], True, 2)
    new = PopularInGenres(popular, 0.05, most=2)
    new.begin([], ())
    assert new.most == 10, "who has no recents has more use for them"
    assert list(new.ids) == ["hat0", "tea1", "hat1", "tea0"]


async def test_an_empty_catalogue_has_no_popular_genres(gateway: Gateway) -> None:
    popular = PopularGenres(gateway.store)
    await popular.refresh()
    assert popular.diverse() == []
    await fill(gateway, "tea")
    await popular.refresh()
    assert popular.of(["genre of tea"]) == []
