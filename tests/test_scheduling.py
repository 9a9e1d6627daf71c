"""Processes get whole files: together what shares a fixture, and early what takes long."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.scheduling import LONG, ROOT, long_first, scope_of

FILES = [str(path.relative_to(ROOT)) for path in sorted(Path(__file__).parent.rglob("test_*.py"))]


def of(file: str) -> Any:
    return SimpleNamespace(nodeid=f"{file}::test")


def test_what_is_said_to_take_long_exists() -> None:
    assert set(LONG) <= {scope_of(file) for file in FILES}


def test_files_that_use_the_shared_servers_or_build_images_are_together() -> None:
    together = {file for file in FILES if scope_of(file) == "vllm"}
    assert {
        "tests/model_store/test_parity.py",
        "tests/deploy/test_images.py",
        "tests/deploy/test_demo_image.py",
    } <= together
    assert scope_of("tests/test_end_to_end.py") == "tests/test_end_to_end.py", "it starts servers of its own"


def test_long_files_are_first_and_then_those_with_many_tests() -> None:
    few, many, long = "tests/test_floors.py", "tests/test_pages.py", LONG[-1]
    items = [of(few), of(many), of(many), of(long), of("tests/model_store/test_parity.py")]
    long_first(items)
    files = [item.nodeid.partition("::")[0] for item in items]
    assert files == ["tests/model_store/test_parity.py", long, many, many, few]
