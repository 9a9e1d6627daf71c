"""The jsonnet mixin: the same rules and dashboards as the files, with a configuration."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.prometheus import ROOT, RULE_FILES, promtool, rules

jsonnet = pytest.importorskip("_jsonnet", reason="jsonnet is not installed; it comes with the `dev` extra")
MIXIN = ROOT / "deploy" / "mixin" / "mixin.libsonnet"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").rglob("*.json"))


def mixin(config: str = "{}") -> dict[str, Any]:
    """What the mixin makes of a configuration."""
    code = f"""
        local made = (import '{MIXIN}') + {{ _config+:: {config} }};
        {{ alerts: made.prometheusAlerts, records: made.prometheusRules, dashboards: made.grafanaDashboards }}
    """
    value = json.loads(jsonnet.evaluate_snippet("test", code))
    assert isinstance(value, dict)
    return value


def all_rules(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in made["groups"] for rule in group["rules"]]


def test_the_mixin_has_the_rules_of_all_files() -> None:
    made = mixin()
    assert all_rules(made["alerts"]) == rules("alert")
    assert all_rules(made["records"]) == rules("record")


def test_groups_keep_their_intervals() -> None:
    groups = [group for file in RULE_FILES for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    slow = {group["name"]: group["interval"] for group in groups if "interval" in group}
    made = mixin()
    for kind in ("alerts", "records"):
        assert {group["name"]: group["interval"] for group in made[kind]["groups"] if "interval" in group} == slow


def test_prometheus_accepts_what_the_mixin_makes(tmp_path: Path) -> None:
    made = mixin()
    for kind in ("alerts", "records"):
        file = tmp_path / f"{kind}.yml"
        file.write_text(yaml.safe_dump(made[kind]), "utf-8")
        promtool("check", "rules", file)


def test_a_configuration_sets_the_address_of_the_runbooks_and_labels_of_all_alerts() -> None:
    made = mixin("{ docs: 'https://example.com/docs', alertLabels: { team: 'search' } }")
    alerts = all_rules(made["alerts"])
    assert alerts
    for alert in alerts:
        assert alert["annotations"]["runbook_url"] == f"https://example.com/docs/runbooks/{alert['alert']}.md"
        assert alert["labels"].items() >= {"team": "search"}.items()
        assert alert["labels"]["severity"] in ("page", "ticket")


def test_the_mixin_has_all_dashboards() -> None:
    assert mixin()["dashboards"] == {file.name: json.loads(file.read_text("utf-8")) for file in DASHBOARDS}


def test_a_configuration_sets_the_address_of_the_runbooks_in_the_dashboards() -> None:
    docs = "https://example.com/docs"
    for board in mixin(f"{{ docs: '{docs}' }}")["dashboards"].values():
        (variable,) = [one for one in board["templating"]["list"] if one["name"] == "docs"]
        assert (variable["query"], variable["current"]["value"]) == (docs, docs)
