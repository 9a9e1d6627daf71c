"""The runbooks: one for each alert, with queries that Prometheus understands."""

import re
from pathlib import Path

import pytest
import yaml

from tests.deploy.prometheus import RUNBOOKS, promtool, rules
from tests.deploy.promql import known_series, series_of

ALERTS = {rule["alert"] for rule in rules("alert")}
PAGES = sorted(RUNBOOKS.glob("Tastestream*.md"))
HEADINGS = ["What the user sees", "How to confirm", "What to do", "When it resolves"]


def queries(page: Path) -> list[str]:
    """The queries of a page that are meant to be pasted."""
    text = page.read_text("utf-8")
    return [
        *re.findall(r"^```promql\n(.+?)^```$", text, re.MULTILINE | re.DOTALL),
        *re.findall(r"'query=([^']+)'", text),
    ]


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    assert {page.stem for page in PAGES} == ALERTS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_runbook_says_what_is_seen_how_to_confirm_what_to_do_and_when_it_ends(page: Path) -> None:
    title, *headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    assert title == page.stem
    assert headings == HEADINGS
    assert queries(page)


def test_the_index_lists_each_alert_under_its_severity() -> None:
    _, pages, tickets, *_ = re.split(r"^## (?:Pages|Tickets|Using)", (RUNBOOKS / "README.md").read_text(), flags=re.M)
    paged = {rule["alert"] for rule in rules("alert") if rule["labels"]["severity"] == "page"}
    listed = [set(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \|", part, re.MULTILINE)) for part in (pages, tickets)]
    assert listed == [paged, ALERTS - paged]


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    file = tmp_path / "queries.yml"
    found = [(page.stem, query) for page in PAGES for query in queries(page)]
    group = {"name": "runbooks", "rules": [{"record": f"{name}_{n}", "expr": q} for n, (name, q) in enumerate(found)]}
    file.write_text(yaml.safe_dump({"groups": [group]}), "utf-8")
    promtool("check", "rules", file)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_series_in_a_query_exists(page: Path) -> None:
    recorded = {rule["record"] for rule in rules("record")}
    assert {name for query in queries(page) for name in series_of(query)} - known_series() - recorded == set()
