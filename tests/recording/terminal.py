"""A small terminal: turns what a command prints into lines, each with all that it showed and when."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

_ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]")
_INCOMPLETE = re.compile(r"\x1b(?:\[[0-9;?]*|\][^\x07\x1b]*\x1b?|[()])?$")
_PART = re.compile(r"[^ ]+(?: [^ ]+)*")
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


@dataclass(frozen=True, slots=True)
class Style:
    """How a character is drawn; `colour` is one of the eight names, or empty for the terminal's own."""

    colour: str = ""
    bold: bool = False
    dim: bool = False


PLAIN = Style()


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring characters of one style; `column` is that of the first."""

    column: int
    text: str
    style: Style


@dataclass(slots=True)
class Line:
    """One line of the output: what it showed, from which second on; the last entry stays."""

    versions: list[tuple[float, tuple[Run, ...]]] = field(default_factory=list)

    def show(self, second: float, runs: tuple[Run, ...]) -> None:
        if (self.versions[-1][1] if self.versions else ()) != runs:
            self.versions.append((second, runs))


class Terminal:
    """Lines are never dropped: the cursor moves up only to rewrite what was printed last, such as progress bars."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._cells: list[list[tuple[str, Style]]] = [[]]
        self._row = self._column = 0
        self._style = PLAIN
        self._rest = ""
        self.lines: list[Line] = []

    def feed(self, second: float, text: str) -> None:
        """Show `text`, which may end within an escape sequence."""
        text = self._rest + text
        incomplete = _INCOMPLETE.search(text)
        self._rest = text[incomplete.start() :] if incomplete else ""
        text = text[: incomplete.start()] if incomplete else text
        position = 0
        for escape in _ESCAPE.finditer(text):
            self._print(text[position : escape.start()])
            self._control(escape[1] or "", escape[2] or "")
            position = escape.end()
        self._print(text[position:])
        while len(self.lines) < len(self._cells):
            self.lines.append(Line())
        for line, cells in zip(self.lines, self._cells, strict=True):
            line.show(second, tuple(_runs(cells)))

    def _print(self, text: str) -> None:
        for character in text:
            if character == "\r":
                self._column = 0
            elif character == "\n":
                self._move(self._row + 1)
            elif character >= " ":
                self._put(character)

    def _put(self, character: str) -> None:
        if self._column == self._columns:
            self._move(self._row + 1)
            self._column = 0
        cells = self._cells[self._row]
        cells.extend([(" ", PLAIN)] * (self._column + 1 - len(cells)))
        cells[self._column] = (character, self._style)
        self._column += 1

    def _move(self, row: int) -> None:
        self._row = max(0, row)
        while len(self._cells) <= self._row:
            self._cells.append([])

    def _control(self, parameters: str, command: str) -> None:
        numbers = [int(number or 0) for number in parameters.strip("?").split(";")]
        cells = self._cells[self._row]
        if command == "m":
            self._paint(numbers)
        elif command == "A":
            self._move(self._row - max(1, numbers[0]))
        elif command == "B":
            self._move(self._row + max(1, numbers[0]))
        elif command == "G":
            self._column = max(0, numbers[0] - 1)
        elif command == "K":
            del cells[0 if numbers[0] == 2 else self._column :]

    def _paint(self, numbers: list[int]) -> None:
        for number in numbers:
            if number == 0:
                self._style = PLAIN
            elif number == 1:
                self._style = replace(self._style, bold=True)
            elif number == 2:
                self._style = replace(self._style, dim=True)
            elif number == 22:
                self._style = replace(self._style, bold=False, dim=False)
            elif number == 39:
                self._style = replace(self._style, colour="")
            elif number // 10 in (3, 9) and number % 10 < 8:
                self._style = replace(self._style, colour=_COLOURS[number % 10])


def _runs(cells: list[tuple[str, Style]]) -> Iterator[Run]:
    """The visible parts of a line: a new one where the style changes and after two spaces, so that columns hold."""
    start = 0
    for column in range(1, len(cells) + 1):
        if column == len(cells) or cells[column][1] != cells[start][1]:
            text = "".join(character for character, _ in cells[start:column])
            for part in _PART.finditer(text):
                yield Run(start + part.start(), part[0], cells[start][1])
            start = column
