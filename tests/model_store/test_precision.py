"""Precision follows the processor in training and serving."""

from pathlib import Path

import pytest

from model_store import precision
from model_store.precision import cpu_dtype, has_bfloat16_units
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest
from model_store.serving.launch import Device, command

ZEN_4 = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni\n"
LAPTOP = "processor\t: 0\nflags\t\t: fpu avx avx2 fma\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (ZEN_4, True),
        (GRAVITON, True),
        ("flags : avx512f amx_bf16\n", True),
        (LAPTOP, False),
        ("flags : avx512f\nbugs : bf16\n", False),
        ("", False),
    ],
)
def test_units_for_bfloat16_are_read_from_the_processors_flags(cpuinfo: str, expected: bool) -> None:
    assert has_bfloat16_units(cpuinfo) is expected


def dtype_of(manifest: Manifest, device: Device) -> str:
    line = command(manifest, Path("/weights"), PromptSet.built_in("compact"), 1, device)
    return line[line.index("--dtype") + 1]


@pytest.mark.parametrize("units", [True, False])
def test_a_server_without_a_gpu_multiplies_in_float32_where_bfloat16_is_emulated(
    units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: units)
    open_version = Manifest(name="general", version=1, role="summarizer")
    assert dtype_of(open_version, "cpu") == ("auto" if units else "float32")
    assert dtype_of(open_version, "gpu") == "auto"


def test_what_a_version_asks_for_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)
    assert cpu_dtype("bfloat16") == "bfloat16"
    assert cpu_dtype("float32") == "float32"
