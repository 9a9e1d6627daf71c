"""Draws whole dashboards from what a Prometheus has recorded: each panel at its place in Grafana's grid."""

import io
import math
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from tests.deploy.dashboards import VARIABLES, board
from tests.observe.charts import CARD, INK, Line, Shown, draw, legend_places
from tests.observe.prometheus import Prometheus

_DPI = 100
_WIDTH, _UNIT = 1500, 30
"""Pixels of 24 columns, and of one step of height."""
_GAP, _HEAD, _LEFT, _AXIS, _LEGEND = 4, 26, 60, 16, 13
"""Pixels between panels, of a title, left of a chart, of its time axis, and of a row of its legend."""
_COLOURS = 96
_STEPS = 240


def render(file: Path, prometheus: Prometheus, start: float, end: float, interval_s: float) -> bytes:
    """The dashboard of a file as PNG.

    Args:
        start, end: the time that is shown, in seconds since the epoch.
        interval_s: at which Prometheus scrapes.
    """
    mpl.rcParams["font.family"] = "DejaVu Sans"
    value = board(file)
    height = _UNIT * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in value["panels"])
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor="#f4f5f5")
    for panel in value["panels"]:
        if panel["type"] == "row":
            _place_row(figure, panel, height)
        else:
            lines = _data(panel, prometheus, start, end, interval_s)
            _place(figure, Shown(panel, lines, start, end), height)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return _small(drawn)


def _data(panel: dict[str, Any], prometheus: Prometheus, start: float, end: float, interval_s: float) -> list[Line]:
    """What the panel's queries return, with the window that Grafana would take for rates."""
    step = max((end - start) / _STEPS, interval_s)
    variables = VARIABLES | {"__rate_interval": f"{max(step + interval_s, 4 * interval_s):.0f}s"}
    lines = []
    for target in panel["targets"]:
        expr = re.sub(r"\$(\w+)", lambda found: variables[found[1]], target["expr"])
        from_s = end if target["instant"] or panel["type"] == "stat" else start
        for labels, points in prometheus.query_range(expr, from_s, end, step):
            lines.append(Line(_name(target["legendFormat"], labels), labels, with_gaps(points, step)))
    return lines


def with_gaps(points: list[tuple[float, float]], step: float) -> list[tuple[float, float]]:
    """The points with one that is no number wherever some are missing, so that no line is drawn across."""
    found: list[tuple[float, float]] = []
    for at, value in points:
        if found and at - found[-1][0] > 1.5 * step:
            found.append((found[-1][0] + step, math.nan))
        found.append((at, value))
    return found


def _name(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend).strip()


def _place_row(figure: Figure, panel: dict[str, Any], height: int) -> None:
    y = 1 - (panel["gridPos"]["y"] + 0.6) * _UNIT / height
    figure.text(_GAP / _WIDTH, y, panel["title"], fontsize=11, weight="bold", color=INK, va="center")


def _place(figure: Figure, shown: Shown, height: int) -> None:
    """A card at the panel's place, with its title, and the chart inside."""
    place = shown.panel["gridPos"]
    column = _WIDTH / 24
    left, top = place["x"] * column + _GAP, place["y"] * _UNIT + _GAP
    wide, high = place["w"] * column - 2 * _GAP, place["h"] * _UNIT - 2 * _GAP
    card = figure.add_axes((left / _WIDTH, 1 - (top + high) / height, wide / _WIDTH, high / height))
    card.set_facecolor(CARD)
    card.set_xticks([])
    card.set_yticks([])
    card.spines[:].set_color("#dcdfe3")
    title = {"ha": "left", "va": "center", "fontsize": 8.5, "weight": "bold", "color": INK}
    card.text(8 / wide, 1 - _HEAD / 2 / high, shown.panel["title"], **title)
    draw(figure.add_axes(_inside(shown, left, top, wide, high, height)), shown)


def _inside(
    shown: Shown, left: float, top: float, wide: float, high: float, height: int
) -> tuple[float, float, float, float]:
    """Where the chart is in its card, as shares of the figure."""
    if shown.panel["type"] == "timeseries":
        names = sorted(line.name for line in shown.lines)
        places = legend_places(names, (wide - _LEFT - 12) * 72 / _DPI)
        below = _AXIS + _LEGEND * (1 + max((row for _, row in places), default=0)) + 10
        beside = (_LEFT, 12)
    elif shown.panel["type"] == "heatmap":
        below, beside = _AXIS + 8, (_LEFT, 12)
    elif shown.panel["type"] == "bargauge":
        below, beside = 8, (150, 12)
    else:
        below, beside = 8, (14, 14)
    x, width = left + beside[0], wide - sum(beside)
    y = height - top - high + below
    return x / _WIDTH, y / height, width / _WIDTH, (high - _HEAD - below - 4) / height


def _small(drawn: io.BytesIO) -> bytes:
    """The picture with few colours, a third of the size."""
    out = io.BytesIO()
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(out, format="png", optimize=True)
    return out.getvalue()
