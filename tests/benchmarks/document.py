"""Run the benchmarks that a document names, and replace the tables under each of their commands.

A measured block begins with a fenced command, `python -m tests.benchmarks.<name> <options>`, and ends with the mark
`<!-- end of measurement -->`; the prose around it is kept. Blocks are measured one after the other.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
END = "<!-- end of measurement -->"
_FENCE = "```"
_BLOCK = re.compile(
    rf"^{_FENCE}\n(?P<command>python -m tests\.benchmarks\.(?P<name>\w+)[^\n]*)\n{_FENCE}\n(?P<found>.*?)^{END}$",
    re.MULTILINE | re.DOTALL,
)


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks, such as accept; all that it names.")] = None,
    document: Annotated[Path, typer.Option(help="The document to bring up to date.")] = PAGE,
) -> None:
    """Measure again what the document shows."""
    for name, command in commands(document.read_text()):
        if not names or name in names:
            line = [sys.executable, *shlex.split(command)[1:], "--markdown", str(document)]
            if status := subprocess.run(line, check=False).returncode:
                sys.exit(status)


def commands(document: str) -> list[tuple[str, str]]:
    """The (benchmark, command line) of every measured block, in the document's order."""
    return [(block["name"], block["command"]) for block in _BLOCK.finditer(document)]


def replace_block(document: str, command: str, found: str) -> str:
    """The document with `found` under `command`, at its end if it has no such block."""
    fresh = f"{_FENCE}\n{command}\n{_FENCE}\n\n{found}\n\n{END}"
    for block in _BLOCK.finditer(document):
        if block["command"] == command:
            return document[: block.start()] + fresh + document[block.end() :]
    return f"{document.rstrip()}\n\n{fresh}\n".lstrip()


def command_line() -> str:
    """How this process was started, without the option that names the document."""
    options = iter(sys.argv[1:])
    kept = []
    for option in options:
        if option == "--markdown":
            next(options, None)
        elif not option.startswith("--markdown="):
            kept.append(option)
    return shlex.join(["python", "-m", f"tests.benchmarks.{Path(sys.argv[0]).stem}", *kept])


if __name__ == "__main__":
    typer.run(main)
