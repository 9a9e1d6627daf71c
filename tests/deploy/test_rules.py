"""The rules of Prometheus: valid, current, tested, and about series that exist."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.prometheus import PROMETHEUS, RULE_FILES, RUNBOOKS, TEST_FILES, alert_tests, amtool, promtool, rules
from tests.deploy.promql import known_series, series_of

ALERTS = rules("alert")
DOCS = '{{ or $externalLabels.tastestream_docs "docs" }}'


def label(rule: dict[str, Any]) -> str:
    return f"{rule['alert']}-{rule['labels']['severity']}"


def test_prometheus_accepts_the_rules_and_the_configuration() -> None:
    promtool("check", "rules", *RULE_FILES)
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


def test_alertmanager_accepts_its_example_which_names_alerts_that_exist() -> None:
    file = PROMETHEUS / "alertmanager.yml"
    matchers = re.findall(r'alertname=~?"([^"]+)"', file.read_text("utf-8"))
    assert matchers
    alerts = {rule["alert"] for rule in ALERTS}
    for matcher in matchers:
        assert any(re.fullmatch(matcher, alert) for alert in alerts), matcher
        assert all(name in "".join(alerts) for name in re.findall(r"\w+", matcher)), matcher
    amtool("check-config", file)


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    promtool("test", "rules", file)


def test_the_generated_rules_are_current() -> None:
    files = runpy.run_path(str(PROMETHEUS / "generate.py"))["files"]()
    assert len(files) == 3
    assert files == {name: (PROMETHEUS / "rules" / name).read_text("utf-8") for name in files}


def test_each_alert_is_seen_to_fire_and_not_to_fire() -> None:
    fires, silent = set(), set()
    for test in alert_tests():
        expected = test.get("exp_alerts", [])
        labels = [alert["exp_labels"] for alert in expected]
        fires |= {(test["alertname"], one["severity"], one.get("sloth_window")) for one in labels}
        silent |= set() if expected else {test["alertname"]}
    assert fires == {(rule["alert"], rule["labels"]["severity"], rule["labels"].get("sloth_window")) for rule in ALERTS}
    assert silent == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=label)
def test_an_alert_says_how_urgent_it_is_what_is_wrong_and_what_to_read(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"{DOCS}/runbooks/{rule['alert']}.md"
    assert (RUNBOOKS / f"{rule['alert']}.md").exists()


def test_every_series_in_a_rule_is_declared_or_recorded() -> None:
    recorded = {rule["record"] for rule in rules("record")}
    read = {rule.get("alert") or rule["record"]: series_of(rule["expr"]) for rule in [*rules("record"), *ALERTS]}
    assert {name: unknown for name, series in read.items() if (unknown := series - known_series() - recorded)} == {}
    assert all(read[name] for name in read if name.startswith("Tastestream"))


@pytest.mark.parametrize(
    ("query", "series"),
    [
        ('sum by (job) (rate(a_total{b="c[d]"}[5m])) > 0.5', {"a_total"}),
        ("a:b:c offset 1w or 0 * on (x) group_left () d unless e == bool 1e3", {"a:b:c", "d", "e"}),
        ('count_over_time(vllm:x_bucket{le=~"60([.]0)?"}[1h:5m]) and vector(1)', {"vllm:x_bucket"}),
    ],
)
def test_the_series_of_a_query_are_found(query: str, series: set[str]) -> None:
    assert series_of(query) == series
