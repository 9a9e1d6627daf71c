"""Panels of Grafana as values. What a panel means and which runbook to read stands in its description."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
Json = dict[str, Any]
Steps = Sequence[tuple[float, str]]
"""Colours from a value on, in rising order; below the first one it is green, or what `base` says."""
_LETTERS = "ABCDEFGHIJ"
_SCALES: dict[str, Json] = {
    "linear": {"type": "linear"},
    "log": {"type": "log", "log": 10},
    "symlog": {"type": "symlog", "log": 10, "linearThreshold": 1},
}


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel, and the name of what it draws; `{{label}}` in it stands for the label's value."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel without a place: `width` is in 24ths of the dashboard, `height` in steps of about 38 pixels."""

    body: Json
    width: int
    height: int


def lines(
    title: str,
    meaning: str,
    *queries: Query,
    unit: str,
    width: int = 8,
    height: int = 8,
    runbooks: Sequence[str] = (),
    thresholds: Steps = (),
    base: str = "green",
    stacked: bool = False,
    scale: Literal["linear", "log", "symlog"] = "linear",
    stepped: bool = False,
    most: float | None = None,
    at_least: float | None = None,
    names: Mapping[float, str] | None = None,
) -> Panel:
    """Values over time, on an axis that ends at `most`, or that does not end below `at_least`.

    Thresholds are drawn as dashed lines. The scale `log` has no 0; `symlog` has one, and is linear up to 1.
    """
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "lineInterpolation": "stepAfter" if stepped else "linear",
        "fillOpacity": 30 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "scaleDistribution": _SCALES[scale],
        "thresholdsStyle": {"mode": "dashed" if thresholds else "off"},
        **({} if scale == "log" else {"axisSoftMin": 0}),
        **({} if at_least is None else {"axisSoftMax": at_least}),
    }
    defaults = {
        **_defaults(unit, thresholds, base, names),
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "min": 0 if most is not None else None,
        "max": most,
    }
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    body = _panel("timeseries", title, meaning, runbooks, queries, defaults, options)
    return Panel(body, width, height)


def numbers(
    title: str,
    meaning: str,
    *queries: Query,
    unit: str,
    width: int = 6,
    height: int = 6,
    runbooks: Sequence[str] = (),
    thresholds: Steps = (),
    base: str = "green",
    decimals: int | None = None,
    names: Mapping[float, str] | None = None,
    others: Mapping[str, tuple[str, Steps]] | None = None,
) -> Panel:
    """The latest values as large numbers. `others` are base colour and thresholds of the values with these names."""
    overrides = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "thresholds", "value": _thresholds(steps, other_base)}],
        }
        for name, (other_base, steps) in (others or {}).items()
    ]
    defaults = {**_defaults(unit, thresholds, base, names), "color": {"mode": "thresholds"}, "decimals": decimals}
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "auto",
        "textMode": "value_and_name",
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
    }
    return Panel(
        _panel("stat", title, meaning, runbooks, queries, defaults, options, overrides=overrides), width, height
    )


def bars(
    title: str,
    meaning: str,
    *queries: Query,
    unit: str,
    width: int = 8,
    height: int = 8,
    runbooks: Sequence[str] = (),
    thresholds: Steps = (),
    base: str = "blue",
) -> Panel:
    """The latest values side by side."""
    defaults = {**_defaults(unit, thresholds, base, None), "color": {"mode": "thresholds"}, "min": 0}
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "horizontal",
        "displayMode": "basic",
        "showUnfilled": True,
        "valueMode": "color",
    }
    return Panel(_panel("bargauge", title, meaning, runbooks, queries, defaults, options, instant=True), width, height)


def table(
    title: str,
    meaning: str,
    query: Query,
    *,
    columns: Sequence[str],
    value: str | None = None,
    unit: str = "short",
    width: int = 6,
    height: int = 6,
    runbooks: Sequence[str] = (),
) -> Panel:
    """The labels of the latest values as rows, in the order of `columns`; with the value itself if it has a name."""
    shown = [*columns, *(["Value"] if value else [])]
    organize = {
        "excludeByName": {"Time": True, **({} if value else {"Value": True})},
        "indexByName": {name: place for place, name in enumerate(shown)},
        "renameByName": {"Value": value} if value else {},
    }
    body = _panel(
        "table",
        title,
        meaning,
        runbooks,
        (query,),
        {**_defaults(unit, (), "green", None), "custom": {"align": "auto", "cellOptions": {"type": "auto"}}},
        {"showHeader": True, "cellHeight": "sm"},
        instant=True,
        form="table",
    )
    body["transformations"] = [{"id": "organize", "options": organize}]
    return Panel(body, width, height)


def heatmap(
    title: str,
    meaning: str,
    query: Query,
    *,
    unit: str,
    width: int = 12,
    height: int = 8,
    runbooks: Sequence[str] = (),
) -> Panel:
    """How the observations of a histogram are spread over its buckets, over time. The query is by `le`."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "reverse": False, "fill": "dark-blue"},
        "yAxis": {"axisPlacement": "left", "unit": unit},
        "rowsFrame": {"layout": "auto"},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False},
    }
    defaults = {"custom": {"scaleDistribution": {"type": "linear"}}}
    return Panel(
        _panel("heatmap", title, meaning, runbooks, (query,), defaults, options, form="heatmap"), width, height
    )


def _panel(
    kind: str,
    title: str,
    meaning: str,
    runbooks: Sequence[str],
    queries: Sequence[Query],
    defaults: Json,
    options: Json,
    *,
    overrides: Sequence[Json] = (),
    instant: bool = False,
    form: Literal["time_series", "table", "heatmap"] = "time_series",
) -> Json:
    links = [{"title": f"Runbook {name}", "url": runbook_url(name), "targetBlank": True} for name in runbooks]
    return {
        "type": kind,
        "title": title,
        "description": meaning + _reading(runbooks),
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": _without_none(defaults), "overrides": [*overrides]},
        "options": options,
        "links": links,
        "targets": [_target(_LETTERS[n], query, instant, form) for n, query in enumerate(queries)],
    }


def runbook_url(alert: str) -> str:
    """Where the page of an alert is: below the address in the dashboard's variable `docs`."""
    return f"${{docs:raw}}/runbooks/{alert}.md"


def _reading(runbooks: Sequence[str]) -> str:
    pages = ", ".join(f"[{name}]({runbook_url(name)})" for name in runbooks)
    return f"\n\nRunbook: {pages}." if pages else ""


def _target(letter: str, query: Query, instant: bool, form: str) -> Json:
    return {
        "refId": letter,
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "format": form,
        "instant": instant,
        "range": not instant,
        "editorMode": "code",
    }


def _defaults(unit: str, thresholds: Steps, base: str, names: Mapping[float, str] | None) -> Json:
    return {
        "unit": unit,
        "thresholds": _thresholds(thresholds, base),
        "mappings": [_mapping(names)] if names else [],
    }


def _thresholds(steps: Steps, base: str) -> Json:
    first: list[Json] = [{"color": base, "value": None}]
    return {"mode": "absolute", "steps": first + [{"color": colour, "value": value} for value, colour in steps]}


def _mapping(names: Mapping[float, str]) -> Json:
    options = {f"{value:g}": {"text": text, "index": n} for n, (value, text) in enumerate(names.items())}
    return {"type": "value", "options": options}


def _without_none(value: Json) -> Json:
    return {name: one for name, one in value.items() if one is not None}
