"""Soft tokens are read without torch, and nothing but finite numbers of the model's shape is accepted."""

import io
import pickle
import subprocess
import sys
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_store.registry.manifest import PictureTokens
from model_store.soft_tokens import BadSoftTokens, SoftTokenTexts, check_soft_tokens
from tests.model_store.soft_tokens import saved, soft_tokens

SHAPE = PictureTokens(count=2, width=4)
RANDOM = torch.randn(2, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_torch_saves_is_accepted(dtype: torch.dtype) -> None:
    check_soft_tokens(saved(RANDOM.to(dtype)), SHAPE)


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (saved(torch.randn(2, 5)), r"\(2, 5\), and the model reads 2 x 4"),
        (saved(torch.randn(3, 4)), r"\(3, 4\)"),
        (saved(torch.randn(8)), r"\(8,\)"),
        (saved(torch.randn(1, 2, 4)), r"\(1, 2, 4\)"),
        (saved(torch.randn(4, 2).T), "a view"),
        (saved(torch.randn(3, 4)[1:]), "a view"),
        (saved(RANDOM.to(torch.bfloat16)), "BFloat16Storage"),
        (saved(RANDOM.int()), "IntStorage"),
        (saved([RANDOM]), "not a tensor"),
        (saved({"tokens": RANDOM}), "not a tensor"),
        (saved(torch.full((2, 4), float("nan"))), "not finite"),
        (saved(torch.full((2, 4), float("inf"), dtype=torch.float16)), "not finite"),
        (saved(torch.randn(400, 400)), "more than 2 x 4 numbers take"),
        (b"", "not what torch.save writes"),
        (b"PK\x03\x04 no archive", "not what torch.save writes"),
        (soft_tokens()[:-30], "not what torch.save writes"),
    ],
)
def test_anything_else_is_refused_with_the_reason(blob: bytes, why: str) -> None:
    with pytest.raises(BadSoftTokens, match=why):
        check_soft_tokens(blob, SHAPE)


def test_a_pickle_that_calls_something_is_not_followed() -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("open('owned', 'w')",)

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Attack(), protocol=2))
        archive.writestr("archive/data/0", b"\0" * 32)
    with pytest.raises(BadSoftTokens, match=r"__builtin__\.eval"):
        check_soft_tokens(out.getvalue(), SHAPE)


@pytest.mark.parametrize(
    ("content", "opcode"),
    [
        (b"ctorch._utils\n_rebuild_tensor_v2\nN}X\x05\x00\x00\x00shapeK\x05s\x86b.", "BUILD"),
        (b"Nr\x00\x00\x00\x01.", "LONG_BINPUT"),
        (b"Np16777216\n.", "PUT"),
    ],
)
def test_a_pickle_that_sets_attributes_or_claims_memory_is_refused(content: bytes, opcode: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", b"\0" * 32)
    with pytest.raises(BadSoftTokens, match=f"instruction {opcode}"):
        check_soft_tokens(out.getvalue(), SHAPE)
    check_soft_tokens(saved(RANDOM), SHAPE)


def test_a_compressed_archive_is_refused_before_it_is_unpacked() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10_000_000)
    assert len(out.getvalue()) < 100_000
    with pytest.raises(BadSoftTokens):
        check_soft_tokens(out.getvalue(), PictureTokens(count=256, width=4096))


@given(place=st.integers(0, len(soft_tokens()) - 1), value=st.integers(0, 255))
def test_damage_is_refused_here_or_by_torch_or_changes_nothing_but_numbers(place: int, value: int) -> None:
    blob = bytearray(soft_tokens())
    blob[place] = value
    try:
        check_soft_tokens(bytes(blob), SHAPE)
        loaded = torch.load(io.BytesIO(bytes(blob)), weights_only=True)
    except Exception:  # noqa: BLE001 - a server answers 400 to whatever torch raises
        return
    assert loaded.shape == (2, 4)


def test_a_request_carries_them_in_base64_and_wrong_ones_never() -> None:
    texts = SoftTokenTexts(SHAPE)
    first = texts.text(soft_tokens())
    assert texts.text(soft_tokens()) is first
    with pytest.raises(BadSoftTokens):
        texts.text(soft_tokens(width=5))


def test_reading_them_loads_no_torch() -> None:
    program = "import sys, model_store.soft_tokens; assert not {'torch', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
