"""Progress is printed on stderr, never into the output of a command."""

import os
import re
import subprocess
import sys

import pytest

from model_store.progress import stages

WORK = """
from model_store.progress import stages
with stages() as report:
    for step in range(3):
        report("sorting [red]", step / 2, "a [note]")
        print("row", step)
"""


def test_without_a_terminal_a_line_says_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as report:
        for done in (0.0, 0.5, 1.0):
            report("sorting [red]", done, f"{done} " + "x" * 200)
    printed = capsys.readouterr()
    assert printed.out == ""
    first, last = printed.err.splitlines()
    assert re.match(r"\d+ s  sorting \[red\] 0 %  0\.0 xxx", first)
    assert re.match(r"\d+ s  sorting \[red\] 100 %  1\.0 xxx", last)


def test_a_stage_that_comes_again_has_a_line_for_each_end(capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as report:
        for note in ("AUC 1", "AUC 2"):
            report("validation", 0.5, "")
            for _ in range(2):
                report("validation", 1.0, note)
    ends = [line.split()[-1] for line in capsys.readouterr().err.splitlines() if "100 %" in line]
    assert ends == ["1", "2"]


def test_bars_in_a_terminal_leave_alone_what_goes_into_a_file() -> None:
    terminal, bars = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE, stderr=bars, env=environment)
    printed, _ = process.communicate(timeout=300)
    os.close(bars)
    assert printed == b"row 0\nrow 1\nrow 2\n"
    shown = b"".join(iter(lambda: _read(terminal), b""))
    os.close(terminal)
    assert b"sorting" in shown
    assert b"100%" in shown
    assert b"a [note]" in shown


def _read(terminal: int) -> bytes:
    """Some of the terminal's output; nothing at its end, which Linux reports as an error."""
    try:
        return os.read(terminal, 100_000)
    except OSError:
        return b""
