"""The image installs only what a lock names by hash."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_package_of_the_image_is_pinned_by_hash() -> None:
    installs = re.findall(r"pip (?:install|wheel)[^&\n]*", (ROOT / "Dockerfile").read_text().replace("\\\n", " "))
    assert len(installs) == 4
    for install in installs:
        assert any(flag in install for flag in ("--require-hashes", "--no-index", "--no-build-isolation")), install
        assert "--no-deps" in install
    for lock in ("base", "build", "cpu"):
        packages = re.findall(r"^[a-z0-9].*==.*$", (ROOT / f"deploy/locks/{lock}.txt").read_text(), re.MULTILINE)
        assert packages
        assert all(package.endswith("\\") for package in packages), "each is followed by its hashes"


def test_the_image_builds_itself_with_pinned_tools() -> None:
    names = re.findall(r"^([a-z0-9-]+)==", (ROOT / "deploy/locks/build.txt").read_text(), re.MULTILINE)
    assert "hatchling" in names
