"""The dashboards: current, complete, and about series that exist."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import generate
from tests.deploy.dashboards import FILES, FOLDER, PanelQuery, all_queries, board, panels
from tests.deploy.prometheus import RUNBOOKS, promtool, rules
from tests.deploy.promql import declared_series, known_series, selectors_of, series_of

QUERIES = list(all_queries())
RECORDED = {rule["record"] for rule in rules("record")}
WITHOUT_NAMESPACE = {"slo:error_budget:ratio"}
"""Recorded from a constant: the objective is the same everywhere."""
NOT_SHOWN = {
    # The rate of events shows when they stop.
    "tastestream_last_event_timestamp_seconds",
    # Constants. The panels have the targets as thresholds.
    "tastestream_slo_target_ratio",
}
"""Declared series that no panel reads, with the reason."""
_ONE_OF_HISTOGRAM = ("_bucket", "_sum", "_count")


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    return board(request.param)


def test_the_files_are_what_the_generator_writes() -> None:
    assert {file.name: file.read_text("utf-8") for file in FOLDER.iterdir()} == generate.files()


def test_a_dashboard_can_be_loaded_into_any_grafana(dashboard: dict[str, Any]) -> None:
    assert "id" not in dashboard
    assert re.fullmatch(r"tastestream-[a-z-]+", dashboard["uid"])
    assert dashboard["schemaVersion"] >= 39
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert names[:2] == ["datasource", "namespace"]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - {"__rate_interval", "__all"}
    assert used == set(names)
    sources = {json.dumps(one["datasource"]) for one in _all_objects(dashboard) if "datasource" in one}
    assert sources == {json.dumps({"type": "prometheus", "uid": "${datasource}"})}


def _all_objects(value: Any) -> Any:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        yield from itertools.chain.from_iterable(map(_all_objects, value))


def test_uids_titles_and_numbers_are_unique() -> None:
    boards = [board(file) for file in FILES]
    assert len({one["uid"] for one in boards}) == len({one["title"] for one in boards}) == len(FILES) == 5
    for one in boards:
        numbers = [panel["id"] for panel in one["panels"]]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
        titles = [panel["title"] for panel in one["panels"]]
        assert len(set(titles)) == len(titles)


def test_panels_neither_overlap_nor_leave_the_grid(dashboard: dict[str, Any]) -> None:
    cells = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        covered = {(place["x"] + x, place["y"] + y) for x, y in itertools.product(range(place["w"]), range(place["h"]))}
        assert not covered & cells, panel["title"]
        cells |= covered


def test_a_panel_says_what_it_means_in_which_unit_and_what_to_read(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        meaning, _, reading = panel["description"].partition("\n\n")
        assert meaning.endswith("."), panel["title"]
        assert panel["type"] == "heatmap" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        linked = [link["url"] for link in panel["links"]]
        assert re.findall(r"\]\((.+?)\)", reading) == linked
        pages = [re.fullmatch(r"\$\{docs:raw\}/runbooks/(\w+\.md)", url) for url in linked]
        assert all(page and (RUNBOOKS / page[1]).exists() for page in pages), panel["title"]


def test_every_alert_has_a_panel_that_leads_to_its_runbook() -> None:
    linked = {Path(link["url"]).stem for file in FILES for panel in panels(board(file)) for link in panel["links"]}
    assert linked == {rule["alert"] for rule in rules("alert")}


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    group = {
        "name": "panels",
        "rules": [{"record": f"q{n}", "expr": query.with_variables()} for n, query in enumerate(QUERIES)],
    }
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [group]}), "utf-8")
    promtool("check", "rules", file)


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_a_query_reads_series_that_exist_of_the_chosen_namespaces(query: PanelQuery) -> None:
    assert series_of(query.with_variables()) - known_series() - RECORDED == set()
    selectors = {one for one in selectors_of(query.expr) if one.partition("{")[0] not in WITHOUT_NAMESPACE}
    assert selectors
    assert [one for one in selectors if 'namespace=~"$namespace"' not in one] == []


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_a_rate_is_of_a_counter_and_a_quantile_of_a_rate(query: PanelQuery) -> None:
    expr = query.with_variables()
    counter = r"[\w:]+(?:_total|_bucket|_sum|_count)"
    windows = r"\[(?:1m|5m|30m|1h|6h|1d)\]"
    assert expr.count("[") == len(re.findall(rf"\b(?:rate|increase)\({counter}(?:\{{[^}}]*\}})?{windows}\)", expr))
    assert expr.count("histogram_quantile") == len(
        re.findall(r"histogram_quantile\(0\.\d+, sum by \([\w, ]*\ble\) \(rate\([\w:]+_bucket", expr)
    )
    assert "rate(sum" not in expr
    labels = {name for names in re.findall(r"\bby \(([^)]*)\)", expr) for name in names.split(", ")}
    assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= labels


def test_every_declared_series_is_on_a_panel_or_left_out_for_a_reason() -> None:
    read = {name for query in QUERIES for name in series_of(query.with_variables())}
    read |= {name for rule in rules("record") if rule["record"] in read for name in series_of(rule["expr"])}
    missing = {_family(name) for name in declared_series()} - {_family(name) for name in read}
    assert {name for name in missing if name.startswith("tastestream_")} == NOT_SHOWN


def _family(name: str) -> str:
    """The name of a histogram for each of its series."""
    return next((name.removesuffix(suffix) for suffix in _ONE_OF_HISTOGRAM if name.endswith(suffix)), name)


@pytest.mark.parametrize(
    ("query", "selectors"),
    [
        (
            'sum(rate(a_total{b="}",c=~"d|e"}[5m])) / on () group_left () f:g offset 1w',
            {'a_total{b="}",c=~"d|e"}', "f:g"},
        ),
        ('label_replace(vector(0), "code", "none", "", "") or code', {"code"}),
    ],
)
def test_the_selectors_of_a_query_are_found(query: str, selectors: set[str]) -> None:
    assert selectors_of(query) == selectors
