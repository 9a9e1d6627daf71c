"""Which package may import which, and what the gateway and the workers never load."""

import ast
import re
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
    "service.index",
    "service.pictures",
    "service.logs",
    "service.metrics",
    "service.settings",
    "service.state",
    "service.tracing",
)
HEAVY = ("scipy", "sklearn", "tokenizers", "torch", "transformers", "vllm")


def _imports() -> Iterator[tuple[str, str]]:
    """Every (importing module, imported module) of the three packages."""
    for package in ("model_store", "service", "workers"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from ((module, alias.name) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module in ("model_store", "service", "workers"):
                    yield from ((module, f"{node.module}.{alias.name}") for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield module, node.module


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _levels() -> dict[str, int]:
    """The level of each part of `service`, the lowest being 0, as CONTRIBUTING.md draws them."""
    (drawn,) = re.findall(r"```text\n(.+?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    lines = drawn.strip().splitlines()
    return {name: level for level, line in enumerate(reversed(lines)) for name in line.split()}


def _part(module: str) -> str | None:
    """The part of `service` that a module belongs to."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "service" and rest else None


def test_within_service_imports_go_down_only_as_documented() -> None:
    levels = _levels()
    parts = {
        path.stem for path in (ROOT / "service").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert levels.keys() == parts - {"__init__"}
    pairs = {(importing, imported) for a, b in _imports() if (importing := _part(a)) and (imported := _part(b))}
    assert len(pairs) > 50
    assert {(a, b) for a, b in pairs if a != b and levels[b] >= levels[a]} == set()


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
