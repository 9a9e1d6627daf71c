"""Panels are drawn with what their queries return, and the documentation shows a picture of each dashboard."""

import math
import re
from typing import Any

import pytest
from matplotlib.figure import Figure

from tests.deploy.dashboards import FILES, board, panels
from tests.deploy.prometheus import ROOT
from tests.observe.charts import Line, Shown, draw, legend_places
from tests.observe.render import with_gaps
from tests.observe.units import written

PICTURES = ROOT / "docs" / "dashboards"
PAGE = ROOT / "docs" / "operating" / "dashboards.md"
_COLUMNS = ("alertname", "severity", "job", "version", "python", "role", "model", "mode")
PANELS = [(file.stem, panel) for file in FILES for panel in panels(board(file))]


def lines(value: float) -> list[Line]:
    """Two results, with labels for every kind of panel."""
    points = [(1000.0 + 5 * n, value) for n in range(10)]
    labels = [dict.fromkeys(_COLUMNS, name) | {"le": bound} for name, bound in (("first", "0.5"), ("second", "+Inf"))]
    return [Line(one["job"], one, points) for one in labels]


def texts(axes: Any) -> set[str]:
    return {text.get_text().strip() for text in (*axes.texts, *axes.get_yticklabels())}


@pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=lambda panel: str(panel["title"]))
def test_each_panel_is_drawn_with_the_names_of_its_results(panel: dict[str, Any]) -> None:
    axes = Figure(figsize=(4, 3)).add_subplot()
    draw(axes, Shown(panel, lines(0.25), 1000.0, 1045.0))
    named = {"500 ms", "more"} if panel["type"] == "heatmap" else {"first", "second"}
    assert named <= texts(axes)


def test_a_panel_without_data_says_so() -> None:
    axes = Figure().add_subplot()
    draw(axes, Shown(PANELS[0][1], [], 1000.0, 1045.0))
    assert texts(axes) >= {"no data"}


def test_no_line_is_drawn_where_data_is_missing() -> None:
    points = with_gaps([(0.0, 1.0), (5.0, 2.0), (20.0, 3.0)], 5.0)
    assert [at for at, _ in points] == [0.0, 5.0, 10.0, 20.0]
    assert math.isnan(points[2][1])


def test_a_number_has_the_colour_of_its_threshold() -> None:
    panel = next(panel for _, panel in PANELS if panel["title"] == "Good in the last hour")
    colours = {value: Shown(panel, [], 0.0, 1.0).colour(lines(value)[0]) for value in (0.5, 0.995, 1.0)}
    assert len(set(colours.values())) == 3
    fresh = Line("freshness", {}, [(0.0, 0.995)])
    assert Shown(panel, [], 0.0, 1.0).colour(fresh) == colours[1.0]


def test_a_legend_has_no_more_rows_than_there_is_room_for() -> None:
    places = legend_places(["a name of some length"] * 40, 200.0)
    assert len(places) == len(set(places)) < 40
    assert max(row for _, row in places) == 3


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.99957, "percentunit", "100 %"),
        (0.0421, "percentunit", "4.21 %"),
        (0.0031, "s", "3.1 ms"),
        (90, "s", "1.5 min"),
        (86400 * 3, "s", "3 d"),
        (2**29, "bytes", "512 MiB"),
        (1234, "reqps", "1.23k req/s"),
        (0, "short", "0"),
        (-41.2, "short", "-41.2"),
        (float("nan"), "s", "no value"),
    ],
)
def test_values_are_written_as_grafana_writes_them(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_documentation_shows_each_dashboard_in_a_small_picture(file: Any) -> None:
    picture = PICTURES / f"{file.stem}.png"
    assert picture.stat().st_size < 300_000
    assert f"](../dashboards/{file.stem}.png)" in PAGE.read_text("utf-8")


def test_no_other_pictures_are_kept() -> None:
    assert {path.stem for path in PICTURES.iterdir()} == {file.stem for file in FILES}
    shown = re.findall(r"\]\(\.\./dashboards/([\w-]+)\.png\)", PAGE.read_text("utf-8"))
    assert sorted(shown) == [file.stem for file in FILES]
