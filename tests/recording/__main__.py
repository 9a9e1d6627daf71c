"""Records `tastestream up --demo` as an animated SVG: `python -m tests.recording`.

The command runs in a pseudo-terminal with a data folder of its own, so that the recording shows a first start. What it
prints is drawn as it came, up to the end of the first demo user; only the waits are shortened and lines that come at
once are spread (`tests/recording/svg.py`). `--capture` keeps what was printed, `--from-capture` draws it again.
"""

import argparse
import codecs
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ

from tests.recording.svg import draw
from tests.recording.terminal import Line, Terminal

ROOT = Path(__file__).parents[2]
COLUMNS, ROWS = 100, 30
COMMAND = ("tastestream", "up", "--demo")
_LAST, _SERVING = "demo-ben", "Ctrl-C stops"
_LIMIT_S, _SILENCE_S = 600.0, 120.0

Capture = list[tuple[float, str]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.recording", description="Record the demo as docs/demo.svg.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "demo.svg")
    parser.add_argument("--port", type=int, default=8000, help="port of the gateway that is recorded")
    parser.add_argument("--capture", type=Path, help="also write what was printed, as JSON")
    parser.add_argument("--from-capture", type=Path, help="draw this file instead of running the demo")
    arguments = parser.parse_args()
    if arguments.from_capture:
        capture: Capture = json.loads(arguments.from_capture.read_text("utf-8"))
    else:
        capture = list(_run(arguments.port))
    if arguments.capture:
        arguments.capture.write_text(json.dumps(capture, ensure_ascii=False), "utf-8")
    arguments.output.write_text(film(capture), "utf-8")
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")


def film(capture: Capture) -> str:
    """The SVG of a run up to the second user of the tour.

    Raises:
        SystemExit: the run did not come that far.
    """
    terminal = Terminal(COLUMNS)
    terminal.feed(0.0, f"$ {' '.join(COMMAND)}\r\n")
    for second, text in capture:
        terminal.feed(second, text)
    titles = [row for row, line in enumerate(terminal.lines) if _LAST in _seen(line)]
    if not titles:
        raise SystemExit("the demo ended before its first user was through; see what it printed with --capture")
    return draw(terminal.lines[: titles[0]], columns=COLUMNS, rows=ROWS, title=" ".join(COMMAND))


def _seen(line: Line) -> str:
    return " ".join(run.text for _, runs in line.versions for run in runs)


def _run(port: int) -> Iterator[tuple[float, str]]:
    """What the demo prints, with the second at which it came; then it is stopped."""
    screen, end = pty.openpty()
    ioctl(end, TIOCSWINSZ, pack("HHHH", ROWS, COLUMNS, 0, 0))
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASTESTREAM_")}
        environment |= {"TERM": "xterm-16color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
        command = [sys.executable, "-m", "service.cli.main", *COMMAND[1:], "--data-dir", folder, "--port", str(port)]
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=end, stderr=end, env=environment, cwd=ROOT, start_new_session=True
        )
        os.close(end)
        try:
            yield from _read(screen)
        finally:
            child.send_signal(signal.SIGINT)
            while _chunk(screen, 60.0):
                pass
            child.wait(60.0)
            os.close(screen)


def _read(screen: int) -> Iterator[tuple[float, str]]:
    decode = codecs.getincrementaldecoder("utf-8")().decode
    started, seen = time.monotonic(), ""
    while _SERVING not in seen and time.monotonic() - started < _LIMIT_S:
        data = _chunk(screen, _SILENCE_S)
        if not data:
            return
        text = decode(data)
        seen += text
        yield time.monotonic() - started, text


def _chunk(screen: int, timeout_s: float) -> bytes:
    """The next bytes; nothing when the command has closed its terminal or is silent for `timeout_s`."""
    ready, _, _ = select.select([screen], [], [], timeout_s)
    try:
        return os.read(screen, 65_536) if ready else b""
    except OSError:
        return b""


if __name__ == "__main__":
    main()
