"""The linters of the files under `deploy`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = ("Dockerfile", "Dockerfile.demo")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_no_fault(name: str) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("`make deploy-tools` installs hadolint")
    checked = subprocess.run([hadolint, ROOT / name], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_yamllint_finds_no_fault() -> None:
    pytest.importorskip("yamllint", reason="`make deploy-tools` installs yamllint")
    checked = subprocess.run(
        [sys.executable, "-m", "yamllint", "--strict", "deploy"], capture_output=True, text=True, cwd=ROOT
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no POSIX shell")
@pytest.mark.parametrize("script", sorted((ROOT / "deploy").glob("*.sh")), ids=lambda script: script.name)
def test_a_script_is_one_that_sh_can_read(script: Path) -> None:
    assert subprocess.run(["sh", "-n", script]).returncode == 0
