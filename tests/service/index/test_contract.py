"""What every index promises."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.index.exact import ExactIndex
from service.index.qdrant import QdrantIndex, open_qdrant
from service.index.vector_index import VectorIndex, WrongVectors

DIMENSIONS = 8
VERSION = "embedder@1"


def _qdrant() -> VectorIndex:
    pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
    index = QdrantIndex(VERSION, DIMENSIONS, open_qdrant(":memory:"), "items")
    index.create()
    return index


INDEXES: dict[str, Callable[[], VectorIndex]] = {
    "float16": lambda: ExactIndex(VERSION, DIMENSIONS, np.float16),
    "float32": lambda: ExactIndex(VERSION, DIMENSIONS, np.float32),
    "qdrant": _qdrant,
}


@pytest.fixture(params=INDEXES)
def index(request: pytest.FixtureRequest) -> VectorIndex:
    return INDEXES[request.param]()


def unit(count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Random vectors of the norm 1; float16 has them exactly."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSIONS))
    rounded = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    return np.asarray(rounded)


def ids(count: int) -> list[str]:
    return [f"item {number}/ü:{{}}" for number in range(count)]


def test_the_nearest_items_are_found_in_the_order_of_their_scores(index: VectorIndex) -> None:
    vectors, names, queries = unit(300), ids(300), unit(3, seed=1)
    index.upsert(names, vectors)
    scores = queries @ vectors.T
    for found, row in zip(index.search(queries, 10), scores, strict=True):
        best = np.argsort(-row)[:10]
        assert found.ids == [names[place] for place in best]
        np.testing.assert_allclose(found.scores, row[best], atol=5e-3)
    assert (len(index), index.version, index.dimensions) == (300, VERSION, DIMENSIONS)


def test_only_allowed_items_are_found_and_no_excluded_ones(index: VectorIndex) -> None:
    vectors, names = unit(100), ids(100)
    index.upsert(names, vectors)
    (everything,) = index.search(vectors[:1], 100)
    (found,) = index.search(vectors[:1], 5, excluded=[*everything.ids[:3], "unknown"])
    assert found.ids == everything.ids[3:8]
    (found,) = index.search(vectors[:1], 5, allowed=[*everything.ids[50:60], "unknown"])
    assert found.ids == everything.ids[50:55]
    (found,) = index.search(vectors[:1], 5, allowed=everything.ids[50:53], excluded=everything.ids[50:51])
    assert found.ids == everything.ids[51:53]
    assert index.search(vectors[:2], 5, allowed=[])[1].ids == []


def test_a_new_vector_replaces_the_old_one(index: VectorIndex) -> None:
    vectors = unit(4)
    index.upsert(["a", "b"], vectors[:2])
    index.upsert(["b", "c"], vectors[2:])
    (found,) = index.search(vectors[2:3], 5)
    assert (found.ids[0], sorted(found.ids), len(index)) == ("b", ["a", "b", "c"], 3)
    rows, has = index.rows(["b"])
    np.testing.assert_allclose(rows[0], vectors[2], atol=1e-3)
    assert has.tolist() == [True]


def test_of_an_item_that_is_given_twice_the_last_vector_counts(index: VectorIndex) -> None:
    vectors = unit(2)
    index.upsert(["a", "a"], vectors)
    np.testing.assert_allclose(index.rows(["a"])[0][0], vectors[1], atol=1e-3)
    assert len(index) == 1


def test_a_removed_item_is_not_found_until_it_is_added_again(index: VectorIndex) -> None:
    vectors = unit(3)
    index.upsert(["a", "b", "c"], vectors)
    index.remove(["b", "unknown"])
    assert sorted(index.search(vectors[1:2], 5)[0].ids) == ["a", "c"]
    assert (len(index), index.rows(["b"])[1].tolist()) == (2, [False])
    index.upsert(["b"], vectors[1:2])
    assert index.search(vectors[1:2], 5)[0].ids[0] == "b"


def test_rows_are_in_the_order_of_the_ids_and_zero_for_unknown_ones(index: VectorIndex) -> None:
    vectors, names = unit(5), ids(5)
    index.upsert(names, vectors)
    rows, has = index.rows([names[3], "unknown", names[0], names[3]])
    assert has.tolist() == [True, False, True, True]
    np.testing.assert_allclose(rows, np.stack([vectors[3], 0 * vectors[0], vectors[0], vectors[3]]), atol=1e-3)


def test_an_empty_index_finds_nothing(index: VectorIndex) -> None:
    assert [found.ids for found in index.search(unit(2), 3)] == [[], []]
    assert (len(index), index.rows(["a"])[1].tolist()) == (0, [False])
    index.remove(["a"])
    index.upsert(["a"], unit(1))
    assert index.search(unit(1), 0)[0].ids == []


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, DIMENSIONS + 1)), np.zeros(DIMENSIONS), np.full((1, DIMENSIONS), np.nan)],
    ids=["width", "rank", "nan"],
)
def test_wrong_vectors_are_refused_and_change_nothing(index: VectorIndex, wrong: np.ndarray[Any, Any]) -> None:
    index.upsert(["a"], unit(1))
    with pytest.raises(WrongVectors):
        index.upsert(["a"], wrong)
    with pytest.raises(WrongVectors):
        index.search(wrong, 1)
    with pytest.raises(WrongVectors):
        index.upsert(["a", "b"], unit(1))
    np.testing.assert_allclose(index.rows(["a"])[0], unit(1), atol=1e-3)
