"""The rules and their tests as values, and Prometheus's own checker."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
RUNBOOKS = ROOT / "docs" / "runbooks"


def promtool(*arguments: str | Path) -> None:
    """Run promtool, and fail with what it says if it is not satisfied."""
    _check("promtool", "prometheus", *arguments)


def amtool(*arguments: str | Path) -> None:
    """Run amtool, and fail with what it says if it is not satisfied."""
    _check("amtool", "prometheus-alertmanager", *arguments)


def _check(tool: str, package: str, *arguments: str | Path) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed; it comes with Debian's package {package}")
    run = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules of a kind, `alert` or `record`."""
    groups = [group for file in RULE_FILES for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def alert_tests() -> Iterator[dict[str, Any]]:
    """All expectations of alerts in promtool's tests."""
    for file in TEST_FILES:
        for group in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            yield from group.get("alert_rule_test", [])
