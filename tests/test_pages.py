"""Promises of the pages for people: what they name is there."""

import re
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

from service.metrics import Metrics
from service.settings import PREFIX, Settings
from tests.deploy.promql import declared_series

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHER_NAMES = {"tastestream_docs"}
"""An external label of Prometheus."""


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def series() -> set[str]:
    """What the families of series may be called on a page."""
    return {family.name for family in Metrics().registry.collect()} | declared_series()


def is_setting(path: list[str]) -> bool:
    """Whether `path` leads from the tree of settings to one of them, or to a level of them."""
    kind: object = Settings
    for name in path:
        if get_origin(kind) is dict:
            # Any name.
            kind = get_args(kind)[1]
            continue
        if not (isinstance(kind, type) and issubclass(kind, BaseModel) and name in kind.model_fields):
            return False
        kind = kind.model_fields[name].annotation
    return True


def test_every_series_that_is_named_is_declared(page: Path) -> None:
    assert set(re.findall(r"tastestream_[a-z_]*[a-z]", page.read_text("utf-8"))) - OTHER_NAMES <= series()


def test_every_setting_that_is_named_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    levels = [name for name, field in Settings.model_fields.items() if hasattr(field.annotation, "model_fields")]
    dotted = re.findall(rf"`((?:{'|'.join(levels)})\.[a-z_]*[a-z])(?![a-z_*])", text)
    variables = set(re.findall(rf"(?:{PREFIX}|\.\._)([A-Z_]*[A-Z])(?![A-Z_*])", text)) - {"CONFIG", "API_KEY"}
    named = [*(name.split(".") for name in dotted), *(name.lower().split("__") for name in variables)]
    assert [name for name in named if not is_setting(name)] == []


def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for name, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text("utf-8")):
        file = page.parent / name if name else page
        assert file.exists(), name
        headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE) if heading else []
        assert not heading or heading in {_anchor(text) for text in headings}, heading


def _anchor(heading: str) -> str:
    """As code hosts make it: without punctuation."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_test_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+(?:\.\w+)?)`", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
