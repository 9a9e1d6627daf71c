"""The head of an embedder, without torch."""

import io
import zipfile

import numpy as np
import pytest

from model_store.embedder_head import Head, HeadError

RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=(2, 6)).astype(np.float32)
HEAD = Head(
    RNG.normal(size=(4, 6)).astype(np.float32),
    RNG.normal(size=(6, 12)).astype(np.float32),
    MEAN,
    RNG.uniform(0.1, 2.0, size=(2, 6)).astype(np.float32),
)
STATES = RNG.normal(size=(3, 6)).astype(np.float32)
FEATURE = RNG.normal(size=6).astype(np.float32)


def _npz(**arrays: object) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def _deflated() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, project=HEAD.project)
    return out.getvalue()


def _changed(content: bytes, after: bytes, offset: int, value: int) -> bytes:
    """The file with another byte, `offset` bytes from where `after` begins."""
    place = content.index(after) + offset
    return content[:place] + bytes([value]) + content[place + 1 :]


def _claiming(*shape: int) -> bytes:
    """A file of a few bytes with a matrix of any shape."""
    header, out = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("project.npy", header.getvalue())
    return out.getvalue()


_IN_DIRECTORY = b"PK\x01\x02"


def test_vectors_are_those_of_the_formula() -> None:
    assert HEAD.gate is not None
    assert HEAD.spread is not None
    for given, vector in zip(STATES, HEAD(STATES, FEATURE), strict=True):
        state = (given - MEAN[0]) / HEAD.spread[0]
        z = 1 / (1 + np.exp(-HEAD.gate @ np.concatenate([state, FEATURE])))
        expected = HEAD.project @ (z * state + (1 - z) * FEATURE)
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_without_a_picture_the_gate_is_not_used() -> None:
    plain = Head(HEAD.project, HEAD.gate)
    expected = STATES @ HEAD.project.T
    np.testing.assert_allclose(plain(STATES), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_a_head_survives_its_file() -> None:
    for head in (HEAD, Head(HEAD.project)):
        read = Head.parse(head.dump(), "head.npz")
        np.testing.assert_array_equal(read(STATES, FEATURE), head(STATES, FEATURE))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x05\x06" + bytes(18),
        HEAD.dump()[:-30],
        _changed(HEAD.dump(), HEAD.project.tobytes(), 0, HEAD.project.tobytes()[0] ^ 1),
        _changed(HEAD.dump(), _IN_DIRECTORY, 8, 1),
        _changed(HEAD.dump(), _IN_DIRECTORY, 10, 99),
        _changed(_deflated(), b"project.npy", 40, 255),
        _claiming(2**40, 2**20),
        _npz(gate=HEAD.gate),
        _npz(project=HEAD.project, gate=HEAD.project),
        _npz(project=np.full((2, 2), np.nan, dtype=np.float32)),
        _npz(project=HEAD.project, mean=MEAN),
        _npz(project=HEAD.project, mean=MEAN, spread=np.ones((1, 6), dtype=np.float32)),
        _npz(project=HEAD.project, mean=MEAN, spread=np.zeros((2, 6), dtype=np.float32)),
        _npz(project=np.array([["a"]])),
        _npz(project=np.array([[object()]], dtype=object)),
    ],
    ids=[
        "empty",
        "no arrays",
        "cut off",
        "another bit",
        "encrypted",
        "an unknown compression",
        "a bad stream",
        "more than any memory",
        "no projection",
        "another gate",
        "not finite",
        "no spread",
        "another spread",
        "a spread of 0",
        "no numbers",
        "objects",
    ],
)
def test_what_is_no_head_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(HeadError, match=r"somewhere\.npz"):
        Head.parse(content, "somewhere.npz")


@pytest.mark.parametrize("states", [STATES[:, :5], MEAN[:1], np.full((1, 6), np.nan)])
def test_states_that_give_no_vector_are_refused(states: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"head reads|no vector"):
        HEAD(states.astype(np.float32))
