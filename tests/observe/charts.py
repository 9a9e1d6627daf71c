"""Draws one panel of a dashboard into axes of matplotlib, for the documentation."""

import datetime
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib import dates, ticker
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from tests.observe.units import written

INK, FAINT, GRID, CARD = "#24292e", "#6e7781", "#e7e9ec", "#ffffff"
COLOURS = {"green": "#37872d", "yellow": "#d9a400", "orange": "#e8710a", "red": "#c4162a", "blue": "#1f60c4"}
_PALETTE = (
    *("#1f78c1", "#e0752d", "#5aa64b", "#bf1b00", "#7b4ea3", "#8b6b4a", "#d683ce", "#5c6b73", "#b3a000", "#3fa9b5"),
    *("#0a437c", "#f2a36b", "#9ac48a", "#e24d42", "#b7a1d6"),
)
_BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#c7dcf3", "#5794d8", "#0a437c"])
_SMALL, _NORMAL = 7.0, 8.5
_LEGEND_ROWS, _MOST_LINES = 4, 15


@dataclass(frozen=True)
class Line:
    """One result of one query: its name in the legend, its labels, and (seconds since the epoch, value)."""

    name: str
    labels: dict[str, str]
    points: list[tuple[float, float]]

    @property
    def last(self) -> float:
        """The latest value that is a number."""
        return next((value for _, value in reversed(self.points) if not math.isnan(value)), math.nan)


@dataclass(frozen=True)
class Shown:
    """A panel with its data, and the time that it covers."""

    panel: dict[str, Any]
    lines: list[Line]
    start: float
    end: float
    defaults: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "defaults", self.panel["fieldConfig"]["defaults"])

    @property
    def unit(self) -> str:
        return str(self.defaults.get("unit", "short"))

    def text(self, value: float) -> str:
        """A value as the panel writes it."""
        names = [one["options"] for one in self.defaults.get("mappings", [])]
        key = f"{value:g}"
        if names and key in names[0]:
            return str(names[0][key]["text"])
        return written(value, self.unit, self.defaults.get("decimals"))

    def colour(self, line: Line) -> str:
        """The colour of the latest value by the panel's thresholds, or by those of this name."""
        steps = self.defaults["thresholds"]["steps"]
        for override in self.panel["fieldConfig"]["overrides"]:
            if override["matcher"]["options"] == line.name:
                steps = override["properties"][0]["value"]["steps"]
        reached = [step["color"] for step in steps if step["value"] is None or line.last >= step["value"]]
        return COLOURS[reached[-1]]


def draw(axes: Axes, shown: Shown) -> None:
    """Draw a panel; one without any data says so."""
    if shown.lines:
        _DRAWN[shown.panel["type"]](axes, shown)
        return
    axes.axis("off")
    axes.text(0.5, 0.5, "no data", ha="center", va="center", fontsize=_NORMAL, color=FAINT)


def _lines(axes: Axes, shown: Shown) -> None:
    custom = shown.defaults["custom"]
    lines = sorted(shown.lines, key=lambda line: line.name)[:_MOST_LINES]
    colours = {line.name: _PALETTE[n % len(_PALETTE)] for n, line in enumerate(lines)}
    if custom["stacking"]["mode"] == "normal":
        _stacked(axes, lines, colours)
    else:
        for line in lines:
            style = "steps-post" if custom["lineInterpolation"] == "stepAfter" else "default"
            axes.plot(
                _times(line), [value for _, value in line.points], color=colours[line.name], lw=1.1, drawstyle=style
            )
    _scale(axes, shown, custom)
    for step in shown.defaults["thresholds"]["steps"]:
        if step["value"] is not None and custom["thresholdsStyle"]["mode"] != "off":
            axes.axhline(step["value"], color=COLOURS[step["color"]], lw=0.8, ls=(0, (4, 3)))
    _time_axis(axes, shown)
    _legend(axes, [(line.name, colours[line.name]) for line in lines])


def _stacked(axes: Axes, lines: Sequence[Line], colours: dict[str, str]) -> None:
    moments = sorted({at for line in lines for at, _ in line.points})
    rows = [[dict(line.points).get(at, 0.0) for at in moments] for line in lines]
    values = np.nan_to_num(np.array(rows, dtype=float))
    axes.stackplot(
        [_moment(at) for at in moments], values, colors=[colours[line.name] for line in lines], alpha=0.75, lw=0
    )


def _scale(axes: Axes, shown: Shown, custom: dict[str, Any]) -> None:
    scale = custom["scaleDistribution"]
    axes.set_yscale(scale["type"], **({"linthresh": scale["linearThreshold"]} if scale["type"] == "symlog" else {}))
    if scale["type"] != "log":
        _limit(axes, shown, custom)
    names = shown.defaults.get("mappings")
    if names:
        axes.yaxis.set_major_locator(ticker.FixedLocator([float(value) for value in names[0]["options"]]))
    elif shown.unit == "bytes":
        axes.yaxis.set_major_locator(ticker.FixedLocator(_round_bytes(axes.get_ylim()[1])))
    elif scale["type"] == "linear":
        axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: shown.text(value)))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def _limit(axes: Axes, shown: Shown, custom: dict[str, Any]) -> None:
    """From 0, or from what is below it, to the panel's maximum, or to what there is."""
    values = [value for line in shown.lines for _, value in line.points if math.isfinite(value)]
    lowest = min([0.0, *values])
    _, high = axes.get_ylim()
    high = shown.defaults.get("max", max(high, custom.get("axisSoftMax", 0.0)))
    axes.set_ylim(1.05 * lowest, high if values and max(values) > lowest else max(custom.get("axisSoftMax", 0.0), 1.0))


def _round_bytes(high: float) -> list[float]:
    """Up to five values from 0 whose distance is a power of two."""
    step = 2.0 ** math.ceil(math.log2(high / 4))
    return [n * step for n in range(int(high / step) + 1)]


def _time_axis(axes: Axes, shown: Shown) -> None:
    axes.set_xlim(_moment(shown.start), _moment(shown.end))
    axes.xaxis.set_major_locator(dates.MinuteLocator(interval=max(1, round((shown.end - shown.start) / 60 / 4))))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    axes.grid(color=GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=_SMALL, colors=FAINT, length=0)
    axes.spines[:].set_visible(False)


def _legend(axes: Axes, names: Sequence[tuple[str, str]]) -> None:
    """Names and their colours below the axes."""
    width = axes.get_position().width * axes.figure.get_size_inches()[0] * 72
    at = {"xy": (0, 0), "xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    for (name, colour), (x, row) in zip(names, legend_places([name for name, _ in names], width), strict=False):
        y = -22 - 9.5 * row
        axes.annotate("■", xytext=(x, y), fontsize=_SMALL, color=colour, **at)
        axes.annotate(name, xytext=(x + 8, y), fontsize=_SMALL, color=INK, **at)


def legend_places(names: Sequence[str], width: float) -> list[tuple[float, int]]:
    """Where each name of a legend begins, in points from the left, and its row; what has no place left is left out."""
    places: list[tuple[float, int]] = []
    x, row = 0.0, 0
    for name in names:
        wide = (len(name) * 0.6 + 2.4) * _SMALL
        if x and x + wide > width:
            x, row = 0.0, row + 1
        if row < _LEGEND_ROWS:
            places.append((x, row))
        x += wide
    return places


def _numbers(axes: Axes, shown: Shown) -> None:
    """One below the other, or one large one."""
    axes.axis("off")
    if len(shown.lines) == 1:
        (line,) = shown.lines
        axes.text(0.5, 0.56, shown.text(line.last), ha="center", fontsize=16, weight="bold", color=shown.colour(line))
        axes.text(0.5, 0.40, line.name, ha="center", fontsize=_NORMAL, color=INK)
        return
    size = max(9.0, 17.0 - 2.0 * len(shown.lines))
    for n, line in enumerate(shown.lines):
        y = 1 - (n + 0.5) / len(shown.lines)
        axes.text(0.0, y, line.name, va="center", fontsize=_NORMAL, color=INK)
        style = {"va": "center", "ha": "right", "fontsize": size, "weight": "bold"}
        axes.text(1.0, y, shown.text(line.last), color=shown.colour(line), **style)


def _bars(axes: Axes, shown: Shown) -> None:
    lines = sorted(shown.lines, key=lambda line: line.name, reverse=True)
    values = [line.last for line in lines]
    axes.barh(range(len(lines)), values, color=[shown.colour(line) for line in lines], height=0.7)
    axes.set_yticks(range(len(lines)), [line.name for line in lines])
    for n, value in enumerate(values):
        axes.text(value, n, f" {shown.text(value)}", va="center", fontsize=_SMALL - 1, color=INK)
    axes.set_xlim(0, 1.25 * max(values))
    axes.tick_params(labelsize=min(_SMALL, 110 / max(len(lines), 1)), colors=FAINT, length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def _table(axes: Axes, shown: Shown) -> None:
    organize = shown.panel["transformations"][0]["options"]
    columns = sorted(organize["indexByName"], key=lambda name: organize["indexByName"][name])
    axes.axis("off")
    rows = [
        [organize["renameByName"].get(name, name) for name in columns],
        *(
            [shown.text(line.last) if name == "Value" else line.labels.get(name, "") for name in columns]
            for line in sorted(shown.lines, key=lambda line: sorted(line.labels.items()))
        ),
    ]
    longest = [max(len(row[n]) for row in rows) + 2 for n in range(len(columns))]
    lefts = [sum(longest[:n]) / sum(longest) for n in range(len(columns))]
    step = min(0.14, 1 / len(rows))
    for r, row in enumerate(rows):
        for left, text in zip(lefts, row, strict=True):
            axes.text(left, 1 - (r + 0.5) * step, text, va="center", fontsize=_SMALL, color=INK if r else FAINT)


def _heatmap(axes: Axes, shown: Shown) -> None:
    """Buckets are cumulative: what is in one is what it has more than the next smaller one."""
    bounds = sorted((float(line.labels["le"]), dict(line.points)) for line in shown.lines)
    moments = sorted({at for _, points in bounds for at in points})
    values = np.array([[points.get(at, math.nan) for at in moments] for _, points in bounds])
    inside = np.diff(np.nan_to_num(values), axis=0, prepend=0).clip(min=0)
    edges = [*moments, moments[-1] + (moments[-1] - moments[0]) / max(len(moments) - 1, 1)]
    axes.pcolormesh([_moment(at) for at in edges], range(len(bounds) + 1), inside, cmap=_BLUES)
    _time_axis(axes, shown)
    axes.grid(visible=False)
    labels = [written(bound, "s") if math.isfinite(bound) else "more" for bound, _ in bounds]
    axes.set_yticks(np.arange(len(bounds)) + 0.5, labels)
    axes.tick_params(axis="y", labelsize=_SMALL - 1)


def _times(line: Line) -> list[datetime.datetime]:
    return [_moment(at) for at, _ in line.points]


def _moment(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at, datetime.UTC)


_DRAWN: dict[str, Callable[[Axes, Shown], None]] = {
    "timeseries": _lines,
    "stat": _numbers,
    "bargauge": _bars,
    "table": _table,
    "heatmap": _heatmap,
}
