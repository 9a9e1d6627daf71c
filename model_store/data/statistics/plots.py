"""Plots of a dataset, as one PNG. Needs matplotlib (extra `evaluate`)."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from model_store.data.statistics.interactions import popularity_of
from model_store.data.statistics.report import CheckReport

_SIGNALS = {"positive": "#2a9d5c", "neutral": "#b0b6bd", "negative": "#d1495b", "exposures": "#e6e8eb"}
_LINE = "#1f5fa8"
_SIDES = (11.0, 7.5)
_MOST_TYPES = 12


def plot(report: CheckReport, file: Path) -> None:
    """Write the plots: history lengths, popularity, interactions over time, types by signal.

    Raises:
        OSError: the file can't be written.
    """
    # A figure of its own instead of pyplot's global ones.
    with mpl.rc_context({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "axes.axisbelow": True}):
        figure = Figure(_SIDES, layout="constrained")
        ((lengths, popularity), (times, types)) = figure.subplots(2, 2)
        found = report.interactions
        figure.suptitle(f"{report.folder.resolve().name}: {found.rows:,} interactions, {found.users:,} users")
        for axes in (lengths, times):
            axes.yaxis.set_major_formatter("{x:,.0f}")
        _lengths(lengths, report)
        _popularity(popularity, report)
        _times(times, report)
        _types(types, report)
        figure.savefig(file, format="png", dpi=120)


def _lengths(axes: Any, report: CheckReport) -> None:
    lengths = [len(history) for history in report.dataset.histories.values()]
    if lengths:
        edges = np.unique(np.geomspace(1, max(lengths) + 1, 40).round())
        axes.hist(lengths, bins=edges, color=_LINE)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set(title="Length of the users' histories", xlabel="interactions", ylabel="users")


def _popularity(axes: Any, report: CheckReport) -> None:
    counts = np.sort(list(popularity_of(report.dataset).values()))[::-1]
    if counts.sum():
        items = np.arange(1, len(counts) + 1) / len(counts)
        axes.plot(items, np.cumsum(counts) / counts.sum(), color=_LINE)
        axes.plot([0, 1], [0, 1], color="#999999", linestyle="--", linewidth=0.8)
        axes.text(0.55, 0.08, f"Gini {report.interactions.popularity.gini:.2f}", transform=axes.transAxes)
    axes.set(title="Popularity", xlabel="items, most popular first", ylabel="share of the interactions")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _times(axes: Any, report: CheckReport) -> None:
    times = report.interactions.times
    if times is not None and times.is_clock:
        axes.hist([_date(row.timestamp) for row in report.rows], bins=60, color=_LINE)
        axes.tick_params(axis="x", rotation=30)
        axes.set(title="Interactions over time", ylabel="interactions")
        return
    axes.hist([row.timestamp for row in report.rows], bins=60, color=_LINE)
    axes.set(title="Interactions by position", xlabel="timestamp (no clock time)", ylabel="interactions")


def _types(axes: Any, report: CheckReport) -> None:
    types = dict(list(report.interactions.types.items())[:_MOST_TYPES])
    left: Counter[str] = Counter()
    for signal, colour in _SIGNALS.items():
        widths = [getattr(count, signal) for count in types.values()]
        if any(widths):
            axes.barh(list(types), widths, left=[left[kind] for kind in types], color=colour, label=signal)
            left.update(dict(zip(types, widths, strict=True)))
    if types:
        axes.legend(
            frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, borderaxespad=0.2, fontsize=8
        )
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(axis="x", rotation=30)
    axes.set_title("What the interactions mean", pad=20)  # above the legend
    axes.set_xlabel("interactions")


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(min(max(seconds, 0.0), 4e9), UTC)
