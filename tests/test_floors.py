"""The floors of the house: who may import whom, and what the gateway and the workers never load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOF = ("service.cli",)
FOR_WORKERS = (
    "service.engines",
    "service.errors",
    "service.heap",
    "service.pictures",
    "service.logs",
    "service.metrics",
    "service.settings",
    "service.state",
)
HEAVY = ("numpy", "tokenizers", "torch", "transformers", "vllm")


def _imports() -> Iterator[tuple[str, str]]:
    """Every (importing module, imported module) of the three packages."""
    for package in ("model_store", "service", "workers"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from ((module, alias.name) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield module, node.module


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_model_store_stands_on_nothing() -> None:
    offences = [(a, b) for a, b in _imports() if _within(a, ("model_store",)) and _within(b, ("service", "workers"))]
    assert offences == []


def test_only_the_roof_imports_workers() -> None:
    offences = [(a, b) for a, b in _imports() if _within(b, ("workers",)) and not _within(a, ("workers", *ROOF))]
    assert offences == []


def test_workers_use_only_the_state_and_what_it_needs() -> None:
    offences = [
        (a, b)
        for a, b in _imports()
        if _within(a, ("workers",)) and _within(b, ("service",)) and not _within(b, FOR_WORKERS)
    ]
    assert offences == []


def test_only_commands_import_commands() -> None:
    offences = [(a, b) for a, b in _imports() if _within(b, ROOF) and not _within(a, ROOF)]
    assert offences == []


def test_the_client_knows_only_the_wire() -> None:
    client = ("service.client",)
    offences = [
        (a, b)
        for a, b in _imports()
        if _within(a, client) and _within(b, ("service", "workers")) and not _within(b, client)
    ]
    assert offences == []


@pytest.mark.parametrize("entry", ["service.app", "workers.run", "service.cli.main"])
def test_gateway_and_worker_load_no_model_library(entry: str) -> None:
    program = f"import sys, {entry}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.split() == []
