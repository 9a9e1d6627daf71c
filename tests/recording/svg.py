"""Draws the lines of a recording as an SVG that plays by itself: CSS animations, no script, no font of its own."""

from bisect import bisect_right
from collections.abc import Sequence
from html import escape

from tests.recording.terminal import Line, Run, Style

LONGEST_WAIT_S = 1.2
SHORTEST_WAIT_S = 0.17
END_S = 6.0
"""How long the end is shown before the recording starts again."""
_VERSION_S = 0.1
_CELL, _ROW, _MARGIN, _BAR = 8.4, 18, 14, 30
_PALETTE = {
    "black": "#6e7681",
    "red": "#ff7b72",
    "green": "#7ee787",
    "yellow": "#e3b341",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
    "white": "#f0f6fc",
}
_STYLE = """text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#c9d1d9}
.bold{font-weight:bold}.dim{fill:#8b949e}"""
# A reader who asks for less motion sees the end.
_STILL = (
    "@media (prefers-reduced-motion:reduce){*{animation-duration:1ms!important;animation-iteration-count:1!important}}"
)


def draw(lines: Sequence[Line], *, columns: int, rows: int, title: str) -> str:
    """An animated SVG of `lines` in a window of `columns` x `rows` characters.

    A line appears at least `SHORTEST_WAIT_S` and at most `LONGEST_WAIT_S` after the one before it, so that what is
    printed all at once can be read and the start of a server takes no longer than that. Changes within lines,
    such as those of a progress bar, are stretched and shortened with the time in which they happened.
    """
    lines = [line for line in lines if line.versions]
    clock = _Clock([line.versions[0][0] for line in lines])
    total = clock.starts[-1] + END_S
    rules: list[str] = []
    texts: list[str] = []
    for row, line in enumerate(lines):
        versions = _thinned([(clock.shown(row, second), runs) for second, runs in line.versions])
        for number, (second, runs) in enumerate(versions):
            end = versions[number + 1][0] if number + 1 < len(versions) else None
            if runs:
                name = f"l{row}-{number}"
                rules.append(_appearance(name, second, end, total))
                texts.append(_text(row, runs, name))
    scrolls = [(clock.starts[row], (rows - 1 - row) * _ROW) for row in range(rows, len(lines))]
    steps = "".join(f"{100 * second / total:.2f}%{{transform:translateY({by}px)}}" for second, by in scrolls)
    rules.append(f"@keyframes scroll{{0%{{transform:none}}{steps}}}")
    rules.append(f"#lines{{animation:scroll {total:.2f}s step-end infinite both}}")
    width, height = round(columns * _CELL + 2 * _MARGIN), _BAR + rows * _ROW + _MARGIN
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title>",
        "<style>",
        _STYLE,
        "".join(f".{name}{{fill:{value}}}" for name, value in _PALETTE.items()),
        *rules,
        _STILL,
        "</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
        f'<text x="{width / 2:g}" y="20" text-anchor="middle" class="dim">{escape(title)}</text>',
        f'<svg y="{_BAR}" width="{width}" height="{rows * _ROW + 4}"><g id="lines">',
    )
    return "\n".join((*head, *texts, "</g></svg>", "</svg>", ""))


class _Clock:
    """Maps the seconds of the recorded run to those of the recording; `starts` says when each row appears."""

    def __init__(self, real: Sequence[float]) -> None:
        self._real = real
        self.starts: list[float] = []
        before, shown = 0.0, 0.0
        for second in real:
            shown += min(max(second - before, SHORTEST_WAIT_S), LONGEST_WAIT_S)
            before = max(before, second)
            self.starts.append(shown)

    def shown(self, row: int, second: float) -> float:
        """When a change of `row` that happened at `second` is shown; never before the row itself."""
        last = bisect_right(self._real, second) - 1
        passed = min(second - self._real[last], LONGEST_WAIT_S)
        if last + 1 < len(self._real):
            share = (second - self._real[last]) / max(self._real[last + 1] - self._real[last], 1e-9)
            passed = share * (self.starts[last + 1] - self.starts[last])
        return max(self.starts[row], self.starts[last] + passed) if second > self._real[row] else self.starts[row]


def _thinned(versions: list[tuple[float, tuple[Run, ...]]]) -> list[tuple[float, tuple[Run, ...]]]:
    """Without the versions that would be seen for less than `_VERSION_S`; the last one stays."""
    kept: list[tuple[float, tuple[Run, ...]]] = []
    for second, runs in versions:
        if kept and second - kept[-1][0] < _VERSION_S:
            kept[-1] = (kept[-1][0], runs)
        else:
            kept.append((second, runs))
    return kept


def _appearance(name: str, start: float, end: float | None, total: float) -> str:
    hidden = f"{100 * end / total:.2f}%{{visibility:hidden}}" if end is not None else ""
    frames = f"0%{{visibility:hidden}}{100 * start / total:.2f}%{{visibility:visible}}{hidden}"
    return f"@keyframes {name}{{{frames}}}#{name}{{animation:{name} {total:.2f}s step-end infinite both}}"


def _text(row: int, runs: Sequence[Run], name: str) -> str:
    spans = "".join(
        f'<tspan x="{_MARGIN + run.column * _CELL:g}"{_classes(run.style)}>{escape(run.text, quote=False)}</tspan>'
        for run in runs
    )
    return f'<text id="{name}" y="{(row + 1) * _ROW - 4}">{spans}</text>'


def _classes(style: Style) -> str:
    names = (style.colour, "bold" if style.bold else "", "dim" if style.dim and not style.colour else "")
    used = " ".join(filter(None, names))
    return f' class="{used}"' if used else ""
