from array import array
from collections.abc import Sequence
from math import inf, nan
from typing import Any, ClassVar

import numpy as np
import pytest

from model_store.item_models.item_model import F32, U32, ItemModelError, Kind
from model_store.item_models.item_vectors import ItemVectors

ITEMS = ("a", "b", "c", "d")
VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
POSITIONS = array("f", [2.0, 1.0])
FOUND = ItemVectors(ITEMS, array("f", VECTORS.flatten().tolist()), POSITIONS)


def test_scores_are_those_of_the_formula_for_the_latest_recents() -> None:
    # "b" is the latest and "x" has no vector; "d" is beyond the positions.
    taste = (2 * VECTORS[1] + 1 * VECTORS[0]) / np.sqrt(3)
    scores = FOUND.score(["d", "a", "x", "b"], ["c", "a", "x"])
    assert scores == pytest.approx([*(VECTORS[[2, 0]] @ taste).tolist(), 0.0], rel=1e-5)


def test_without_a_known_recent_every_candidate_is_neutral() -> None:
    assert FOUND.score(["x"], ["a", "b"]) == [0.0, 0.0]
    assert FOUND.score([], ["a"]) == [0.0]
    assert ItemVectors().score(["a"], ["a"]) == [0.0]


def test_all_items_have_the_scores_of_candidates() -> None:
    for recents in (["d", "a", "x", "b"], ["c"], ["x"], []):
        assert FOUND.score_all(recents).tolist() == pytest.approx(FOUND.score(recents, ITEMS), rel=1e-5)
    assert ItemVectors().score_all(["a"]).tolist() == []


def test_a_file_gives_the_same_scores() -> None:
    read = ItemVectors.parse(FOUND.dump(), "here")
    assert read == FOUND
    assert ItemVectors.parse(ItemVectors().dump(), "here") == ItemVectors()


def test_the_file_is_safetensors() -> None:
    from safetensors.numpy import load

    assert load(FOUND.dump())["vectors"].tolist() == VECTORS.flatten().tolist()


def file(items: Sequence[Any], vectors: list[float], positions: list[float], kind: Kind = F32) -> bytes:
    class Written(ItemVectors):
        kinds: ClassVar = {"vectors": kind, "positions": F32}

    return Written(items, array(kind[1], vectors), array("f", positions)).dump()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "here is no file of item vectors"),
        (b"\xff" * 64, "here is no file of item vectors"),
        (FOUND.dump()[:-4], "vectors must be a vector|positions must be a vector"),
        (file([], [], [], U32), "vectors must be a vector of F32"),
        (file([3], [1], []), "items must be a list"),
        (file(["a", "a"], [1, 2], [1]), "an item twice"),
        (file(["a", "b"], [1, 2, 3], [1]), "same number of dimensions"),
        (file(["a"], [], [1]), "same number of dimensions"),
        (file(["a"], [nan], [1]), "vectors must be finite"),
        (file(["a"], [1], [-1]), "positions must be finite numbers from 0"),
        (file(["a"], [1], [inf]), "positions must be finite"),
    ],
)
def test_a_malformed_file_is_refused_by_name_and_field(content: bytes, message: str) -> None:
    with pytest.raises(ItemModelError, match=message) as caught:
        ItemVectors.parse(content, "here")
    assert str(caught.value).startswith("here")


def test_a_file_that_is_too_large_is_neither_written_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    content = FOUND.dump()
    monkeypatch.setattr("model_store.item_models.item_model.MAX_BYTES", len(content) - 1)
    with pytest.raises(ItemModelError, match="keep fewer items"):
        FOUND.dump()
    with pytest.raises(ItemModelError, match="more than"):
        ItemVectors.parse(content, "here")
