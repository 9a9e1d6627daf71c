from pathlib import Path

import numpy as np
import pytest

from model_store.evaluate.retrieval.vector_files import VectorFileError, read_vectors

ITEMS = ["1", "2", "3"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vectors.npz"


def test_rows_are_unit_vectors_in_the_order_of_the_catalogue(file: Path) -> None:
    np.savez(file, ids=np.array([3, 1, 9]), vectors=np.array([[0, 2], [3, 4], [1, 1]], np.float16))
    rows = read_vectors(file, ITEMS)
    assert rows.vectors == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, 1]]), abs=1e-3)
    assert rows.known.tolist() == [True, False, True]
    assert [rows.has(item) for item in (*ITEMS, "9")] == [True, False, True, False]
    assert rows.of(["3", "1"]) == pytest.approx(np.array([[0, 1], [0.6, 0.8]]), abs=1e-3)
    assert rows.of([]).shape == (0, 2)


def test_an_item_with_a_vector_of_zeros_has_none(file: Path) -> None:
    np.savez(file, ids=np.array(ITEMS), vectors=np.array([[0.0, 0], [1, 0], [1, 0]]))
    assert read_vectors(file, ITEMS).known.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"vectors": np.ones((1, 2))}, "no npz file with the arrays `ids` and `vectors`"),
        ({"ids": np.array(["1"]), "vectors": np.ones((2, 2))}, r"\(n, dimensions\)"),
        ({"ids": np.array(["1"]), "vectors": np.ones(1)}, r"\(n, dimensions\)"),
        ({"ids": np.array(["1"]), "vectors": np.array([[np.nan, 1]])}, "finite"),
        ({"ids": np.array(["1"]), "vectors": np.array([["x", "y"]])}, "finite"),
        ({"ids": np.array(["1"], dtype=object), "vectors": np.ones((1, 2))}, "no npz file"),
        ({"ids": np.array(["1"]), "vectors": np.array([[1e300, 1]])}, "finite"),
        ({"ids": np.array(["8"]), "vectors": np.ones((1, 2))}, "none of the data's items"),
        ({"ids": np.array([], dtype=str), "vectors": np.ones((0, 2))}, "none of the data's items"),
    ],
)
def test_a_file_that_can_not_be_used_is_named(file: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(file, **arrays)
    with pytest.raises(VectorFileError, match=said) as error:
        read_vectors(file, ITEMS)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4 cut off"])
def test_what_is_no_npz_file_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(VectorFileError, match="no npz file"):
        read_vectors(file, ITEMS)


def test_a_single_array_is_no_npz_file(file: Path) -> None:
    with file.open("wb") as opened:
        np.save(opened, np.ones((2, 2)))
    with pytest.raises(VectorFileError, match="no npz file"):
        read_vectors(file, ITEMS)


def test_a_missing_file_and_a_folder_are_named(file: Path) -> None:
    with pytest.raises(VectorFileError, match="no file of vectors"):
        read_vectors(file, ITEMS)
    with pytest.raises(VectorFileError, match="no npz file"):
        read_vectors(file.parent, ITEMS)
