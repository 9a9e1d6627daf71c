"""Similar items: the fewer users like an item, the more its vector counts."""

import pytest

from service.index.current import Vectors, no_index
from service.items.schemas import SimilarItems
from service.items.similar import similar
from tests.service.conftest import Gateway
from tests.service.recommend.asking import fill
from tests.service.recommend.retrieval.test_in_memory import SEARCHER, index_of

INDEX = index_of(tea=[1, 0, 0, 0], pot=[9, 1, 0, 0], jug=[8, 3, 0, 0], hat=[0, 1, 0, 0], twin=[9, 1, 0, 0.001])

VECTORS = Vectors(lambda: INDEX, SEARCHER)
NONE = Vectors(no_index, SEARCHER)


def found(answer: SimilarItems | None) -> dict[str, str]:
    assert answer is not None
    return {one.item_id: one.source for one in answer.items}


@pytest.fixture
async def filled(gateway: Gateway) -> Gateway:
    await fill(gateway, "tea", "pot", "jug", "hat", "pan")
    return gateway


async def test_an_item_that_nobody_met_has_similar_ones_by_its_vector(filled: Gateway) -> None:
    answer = await similar(filled.store, VECTORS, "tea", 10)
    assert found(answer) == {"pot": "embedding", "jug": "embedding"}
    assert answer is not None
    assert answer.items[0].score == pytest.approx(0.9939, abs=1e-3)


async def test_what_many_like_together_wins_over_what_looks_alike(filled: Gateway) -> None:
    for _ in range(30):
        await filled.store.cooccurrence.record(["tea", "hat"], [])
    by_likes = await similar(filled.store, VECTORS, "tea", 2, pivot=1)
    assert list(found(by_likes).items()) == [("hat", "cooccurrence"), ("pot", "embedding")]
    by_vector = await similar(filled.store, VECTORS, "tea", 3, pivot=10_000)
    assert list(found(by_vector)) == ["pot", "jug", "hat"]


async def test_nearly_equal_items_are_named_once_and_deleted_ones_never(filled: Gateway) -> None:
    await fill(filled, "twin")
    assert list(found(await similar(filled.store, VECTORS, "tea", 10))) == ["pot", "jug"]
    assert (await filled.ask("DELETE", "/items/pot")).status_code == 204
    assert list(found(await similar(filled.store, VECTORS, "tea", 10))) == ["twin", "jug"]


async def test_without_an_index_scores_are_cosines_of_cooccurrence(filled: Gateway) -> None:
    await filled.store.cooccurrence.record(["tea", "hat"], [])
    await filled.store.cooccurrence.record(["hat"], [])
    answer = await similar(filled.store, NONE, "tea", 10)
    assert found(answer) == {"hat": "cooccurrence"}
    assert answer is not None
    assert answer.items[0].score == pytest.approx(2**-0.5)
    assert await similar(filled.store, VECTORS, "unknown", 10) is None


async def test_an_item_without_a_vector_is_compared_by_likes_alone_and_the_answer_says_so(filled: Gateway) -> None:
    await filled.store.cooccurrence.record(["pan", "hat"], [])
    answer = await similar(filled.store, VECTORS, "pan", 10)
    assert found(answer) == {"hat": "cooccurrence"}
    assert answer is not None
    assert [warned.code for warned in answer.warnings] == ["no_vector"]


@pytest.mark.parametrize(("item", "vectors"), [("tea", VECTORS), ("pan", NONE)])
async def test_with_a_vector_or_without_an_embedder_there_is_no_warning(
    filled: Gateway, item: str, vectors: Vectors
) -> None:
    answer = await similar(filled.store, vectors, item, 10)
    assert answer is not None
    assert answer.warnings == []
