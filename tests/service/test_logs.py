"""Promises of the log."""

import subprocess
import sys

import orjson

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


def run(*, json: bool) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(json=json)], capture_output=True, text=True, check=True, timeout=60
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
