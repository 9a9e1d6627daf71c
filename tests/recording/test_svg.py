"""Promises of the drawn recording, and of the one that the README shows."""

import re
from pathlib import Path
from xml.etree import ElementTree

from tests.recording.svg import LONGEST_WAIT_S, SHORTEST_WAIT_S, draw
from tests.recording.terminal import Terminal

DEMO = Path(__file__).parents[2] / "docs" / "demo.svg"
SVG = "{http://www.w3.org/2000/svg}"


def drawn(*printed: tuple[float, str], rows: int = 10) -> str:
    terminal = Terminal(20)
    for second, text in printed:
        terminal.feed(second, text)
    return draw(terminal.lines, columns=20, rows=rows, title="a <title>")


def appearances(svg: str) -> dict[str, float]:
    """When each text of the recording appears, in seconds."""
    total = float(re.search(r"animation:scroll ([\d.]+)s", svg)[1])  # type: ignore[index]
    starts = re.findall(r"@keyframes (l\S+?)\{0%\{visibility:hidden\}([\d.]+)%", svg)
    return {name: float(percent) * total / 100 for name, percent in starts}


def test_waits_are_shortened_and_bursts_are_spread() -> None:
    starts = appearances(drawn((0.0, "a\r\n"), (100.0, "b\r\nc\r\n"), (100.5, "d")))
    waits = [starts["l1-0"] - starts["l0-0"], starts["l2-0"] - starts["l1-0"], starts["l3-0"] - starts["l2-0"]]
    assert [round(wait, 1) for wait in waits] == [LONGEST_WAIT_S, round(SHORTEST_WAIT_S, 1), 0.5]


def test_a_change_within_a_line_replaces_what_was_there() -> None:
    svg = drawn((0.0, "0 %"), (50.0, "\r50 %"), (100.0, "\r\x1b[2K100 %\r\nend"))
    texts = {text.get("id"): "".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")}
    assert texts["l0-0"] == "0 %"
    assert texts["l0-1"] == "50 %"
    assert texts["l0-2"] == "100 %"
    assert re.search(r"@keyframes l0-1\{.*visibility:visible\}[\d.]+%\{visibility:hidden\}", svg)
    assert appearances(svg)["l0-1"] < appearances(svg)["l1-0"]


def test_lines_scroll_only_when_the_window_is_full() -> None:
    printed = [(float(second), f"{second}\r\n") for second in range(5)]
    assert "translateY" not in drawn(*printed, rows=5)
    assert drawn(*printed, rows=3).count("translateY") == 2


def test_text_is_escaped() -> None:
    texts = ["".join(text.itertext()) for text in ElementTree.fromstring(drawn((0.0, "<b> & co"))).iter(f"{SVG}text")]
    assert texts == ["a <title>", "<b> & co"]


def test_the_recording_in_the_readme_is_whole_and_small() -> None:
    assert DEMO.stat().st_size < 2**20
    text = "".join(ElementTree.parse(DEMO).getroot().itertext())
    assert text.index("tastestream up --demo") < text.index("summary") < text.rindex("ranking for demo-ana")
