"""A dashboard of Grafana: rows of panels, and what all of ours have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.grafana.panels import DATASOURCE, Json, Panel
from deploy.grafana.queries import NAMESPACE

_COLUMNS = 24
_SCHEMA = 41
"""Of Grafana 11.6, which deploy/compose.yaml starts; later ones convert it."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below a title, placed from left to right and, when a line is full, below."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. Its file has the name `name`, and its uid, which links to it contain, never changes."""

    name: str
    title: str
    purpose: str
    rows: Sequence[Row]
    by_model: bool = False

    @property
    def json(self) -> Json:
        """What Grafana loads. It has no id: that is given by the instance that loads it."""
        return {
            "uid": f"tastestream-{self.name}",
            "title": f"Tastestream / {self.title}",
            "description": self.purpose,
            "tags": ["tastestream"],
            "schemaVersion": _SCHEMA,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "timezone": "browser",
            "time": {"from": "now-6h", "to": "now"},
            "timepicker": {},
            "fiscalYearStartMonth": 0,
            "links": [_other_boards()],
            "annotations": {"list": [_firing_alerts()]},
            "templating": {"list": [*_variables(by_model=self.by_model)]},
            "panels": [*_placed(self.rows)],
        }


def _placed(rows: Sequence[Row]) -> Iterator[Json]:
    """Rows and panels with numbers and places."""
    number = y = 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        y += 1
        x = line_height = 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y, line_height = 0, y + line_height, 0
            number += 1
            yield {"id": number, **panel.body, "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height}}
            x, line_height = x + panel.width, max(line_height, panel.height)
        y += line_height


def _variables(*, by_model: bool) -> Iterator[Json]:
    yield {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "current": {},
    }
    yield _of_labels("namespace", "Namespace", "label_values(tastestream_build_info, namespace)")
    if by_model:
        yield _of_labels("model", "Model version", f"label_values(tastestream_model_info{{{NAMESPACE}}}, model)")
    yield {
        "name": "docs",
        "label": "Address of docs",
        "description": "The address of the folder docs of Tastestream, which the links to runbooks begin with.",
        "type": "textbox",
        "query": "docs",
        "current": {"text": "docs", "value": "docs"},
        "options": [{"selected": True, "text": "docs", "value": "docs"}],
        "hide": 0,
    }


def _of_labels(name: str, label: str, query: str) -> Json:
    """A variable with the values of a label; All also selects series that do not have it."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "hide": 0,
        "options": [],
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _firing_alerts() -> dict[str, Any]:
    return {
        "name": "Firing alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "red",
        "expr": f'ALERTS{{{NAMESPACE},alertname=~"Tastestream.*",alertstate="firing"}}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{severity}}",
        "step": "30s",
        "useValueForTime": False,
    }


def _other_boards() -> Json:
    return {
        "title": "Tastestream",
        "type": "dashboards",
        "tags": ["tastestream"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
