"""The shorter clock changes durations, and nothing else."""

from pathlib import Path

import pytest
import yaml

from tests.deploy.prometheus import RULE_FILES, promtool
from tests.observe import compressed


@pytest.mark.parametrize(
    ("expr", "shorter"),
    [
        ("rate(a_total[5m]) > 0.05", "rate(a_total[10000ms]) > 0.05"),
        ("slo:sli_error:ratio_rate30m > 14.4", "slo:sli_error:ratio_rate30m > 14.4"),
        ("a - (b offset 1w) > 2", "a - (b offset 40000ms) > 2"),
        ("tastestream:oldest_due_seconds:max > 60", "tastestream:oldest_due_seconds:max > 2"),
        ('x_bucket{le=~"60([.]0)?"}[30m]', 'x_bucket{le=~"60([.]0)?"}[40000ms]'),
        ("rate(a[$__rate_interval])", "rate(a[$__rate_interval])"),
    ],
)
def test_the_durations_of_a_query_are_shorter(expr: str, shorter: str) -> None:
    assert compressed.query(expr) == shorter


@pytest.mark.parametrize("file", RULE_FILES, ids=lambda file: file.stem)
def test_a_file_has_the_same_rules_which_prometheus_accepts(file: Path, tmp_path: Path) -> None:
    copy = compressed.rule_file(file, tmp_path)
    promtool("check", "rules", copy)
    before, after = (yaml.safe_load(one.read_text("utf-8"))["groups"] for one in (file, copy))
    for old, new in zip(before, after, strict=True):
        assert [{**rule, "expr": "", "for": ""} for rule in old["rules"]] == [
            {**rule, "expr": "", "for": ""} for rule in new["rules"]
        ]
