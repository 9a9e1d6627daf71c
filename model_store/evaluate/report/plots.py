"""The plots of a report as SVG texts that take the page's colours, in light and in dark."""

import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from model_store.errors import UserError
from model_store.evaluate.results import CalibrationResult, Estimate, ReliabilityBin

_INK, _FAINT = "#010101", "#020202"
"""Replaced by the page's colours."""
_SERIES = ("#2a78d6", "#c2571a", "#3b8c3f", "#8a4fbf")
"""Readable on white and on black."""
_ROW_INCHES = 0.28


def require_matplotlib() -> None:
    """
    Raises:
        UserError: matplotlib is not installed, which is better known before hours of asking.
    """
    if find_spec("matplotlib") is None:
        raise UserError("the plots of a report need the extra `evaluate`: pip install 'tastestream[evaluate]'")


def forest(rows: Sequence[tuple[str, Estimate, int]], label: str, zero: float | None = None) -> str:
    """One row per name with its estimate and interval, in percent, the first on top.

    Args:
        rows: name, estimate, and the number of its colour.
        label: of the horizontal axis.
        zero: where a line says "no difference", in percent.
    """
    figure, axes = _figure(8.0, 0.7 + _ROW_INCHES * len(rows))
    for place, (_, estimate, series) in enumerate(rows):
        value, low, high = 100 * estimate.value, 100 * estimate.low, 100 * estimate.high
        axes.plot([low, high], [place, place], color=_SERIES[series], linewidth=2, solid_capstyle="round")
        axes.plot([value], [place], "o", color=_SERIES[series], markersize=6)
        text = f"{value:.1f}" if zero is None else f"{value:+.1f}".replace("-", "−")
        axes.annotate(text, (high, place), (6, 0), textcoords="offset points", va="center", fontsize=8.5, color=_INK)
    if zero is not None:
        axes.axvline(zero, color=_FAINT, linewidth=1, linestyle=(0, (3, 2)))
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.margins(x=0.12)
    axes.grid(axis="x", color=_FAINT, alpha=0.25, linewidth=0.6)
    return _svg(figure)


def reliability(curves: Mapping[str, CalibrationResult]) -> str:
    """Predicted against observed shares with 95 % intervals, on logarithmic axes: most candidates are unlikely.

    A bin without a target is an empty circle on the lower edge.
    """
    figure, axes = _figure(4.8, 4.4)
    floor = min((_floor(curve) for curve in curves.values()), default=0.01)
    axes.plot([floor, 1], [floor, 1], color=_FAINT, linewidth=1, linestyle=(0, (3, 2)))
    for series, (name, curve) in enumerate(curves.items()):
        colour = _SERIES[series]
        seen = [one for one in curve.bins if one.observed > 0]
        axes.plot(
            [one.predicted for one in seen], [one.observed for one in seen], color=colour, linewidth=1.2, label=name
        )
        for one in curve.bins:
            at, low, high = max(one.predicted, floor), *_wilson(one)
            axes.plot([at, at], [max(low, floor), high], color=colour, linewidth=1, alpha=0.6)
            filled = colour if one.observed > 0 else "none"
            axes.plot([at], [max(one.observed, floor)], "o", color=colour, markerfacecolor=filled, markersize=5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("observed share of targets")
    axes.set_xlim(floor * 0.8, 1.2)
    axes.set_ylim(floor * 0.8, 1.2)
    axes.grid(color=_FAINT, alpha=0.25, linewidth=0.6)
    axes.legend(frameon=False, loc="upper left", labelcolor=_INK, fontsize=9)
    return _svg(figure)


def _wilson(one: ReliabilityBin) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(round(one.observed * one.candidates), one.candidates).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _floor(curve: CalibrationResult) -> float:
    """Where the axes begin."""
    shares = [share for one in curve.bins for share in (one.predicted, one.observed) if share > 0]
    return max(min(shares, default=0.01) / 2, 1e-4)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(colors=_INK, labelsize=9, length=0, which="both")
    axes.xaxis.label.set(color=_INK, fontsize=9)
    axes.yaxis.label.set(color=_INK, fontsize=9)
    axes.patch.set_alpha(0)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure, axes


def _svg(figure: Any) -> str:
    """The drawing alone, without what only a file of its own needs. Equal input gives equal text."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tastestream", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    drawing = out.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    return drawing.replace(_INK, "var(--ink)").replace(_FAINT, "var(--faint)")
