"""The dashboards as values: their panels, and the queries that Grafana sends for them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))
VARIABLES = {"namespace": ".*", "model": ".*", "__rate_interval": "1m"}
"""What Grafana puts in for All, and for the window of rates with Prometheus's default interval of 15 s."""


@dataclass(frozen=True)
class PanelQuery:
    """One query of one panel."""

    board: str
    panel: str
    letter: str
    expr: str
    legend: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.board}: {self.panel} ({self.letter})"

    def with_variables(self, values: Mapping[str, str] = VARIABLES) -> str:
        """The query as it is sent."""
        return re.sub(r"\$(\w+)", lambda found: values[found[1]], self.expr)


def board(file: Path) -> dict[str, Any]:
    """One dashboard."""
    value = json.loads(file.read_text("utf-8"))
    assert isinstance(value, dict)
    return value


def panels(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels of a dashboard that show something, rows not among them."""
    return [panel for panel in value["panels"] if panel["type"] != "row"]


def all_queries() -> Iterator[PanelQuery]:
    """The queries of all panels of all dashboards."""
    for file in FILES:
        for panel in panels(board(file)):
            for target in panel["targets"]:
                yield PanelQuery(
                    file.stem,
                    panel["title"],
                    target["refId"],
                    target["expr"],
                    target["legendFormat"],
                    target["instant"],
                )
