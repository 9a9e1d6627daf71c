"""Promises of the log."""

import re
import subprocess
import sys

import orjson
import pytest

PROGRAM = """
from service import logs
logs.configure(json={json})
log = logs.get_logger("here")
token = logs.REQUEST_ID.set("r1")
log.info("happened", count=3)
logs.REQUEST_ID.reset(token)
log.debug("not shown")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def run(*, json: bool, program: str = PROGRAM) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program.format(json=json)], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_each_line_is_one_json_object_with_the_request_id() -> None:
    first, second = (orjson.loads(line) for line in run(json=True))
    assert (
        first.items()
        >= {"event": "happened", "module": "here", "count": 3, "request_id": "r1", "level": "info"}.items()
    )
    assert "ZeroDivisionError" in second["exception"]
    assert "request_id" not in second


def test_text_for_people() -> None:
    assert "happened" in run(json=False)[0]


HOSTILE = """
from service import logs
logs.configure(json={json})
log = logs.get_logger("here")
def fail():
    held = "words of a user"
    raise ValueError("1\\x1b[2J2\\r3")
log.info("happened", given="a\\x1b[31mb\\nforged\\x9bc\\u202ed")
try:
    fail()
except ValueError:
    log.exception("failed")
"""


@pytest.mark.parametrize("json", [False, True])
def test_nothing_that_is_logged_forges_a_line_or_commands_a_terminal(json: bool) -> None:
    lines = run(json=json, program=HOSTILE)
    text = re.sub(r"\x1b\[\d*m", "", "\n".join(lines))
    assert text.replace("\n", "").isprintable()
    assert not [line for line in lines if line.startswith("forged")]
    assert "\x1b[31mb" not in "\n".join(lines)


@pytest.mark.parametrize("json", [False, True])
def test_a_traceback_shows_no_variables(json: bool) -> None:
    text = "\n".join(run(json=json, program=HOSTILE))
    assert "ValueError" in text
    assert "words of a user" not in text
