"""Our rules and queries with a shorter clock, so that a test sees in a minute what takes an hour.

Every duration is divided by `FACTOR`, and none is longer than `LONGEST_S`: the windows of ranges and offsets, the `for`
of alerts, the intervals of groups, and the numbers of seconds that a waiting time is compared with. So the windows of a
burn rate alert (5 minutes and 1 hour) become 10 and 40 seconds, and a week ago is 40 seconds ago. Nothing else is
changed: neither shares nor counts, and not the 60 s of the freshness objective, which are the bound of a bucket.
"""

import re
from pathlib import Path
from typing import Any

import yaml

FACTOR, LONGEST_S = 30.0, 40.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = r"(\d+)([smhdw])"


def seconds(duration: str) -> float:
    """A duration on the shorter clock."""
    found = re.fullmatch(_DURATION, duration)
    assert found, duration
    return min(int(found[1]) * _UNITS[found[2]] / FACTOR, LONGEST_S)


def duration(text: str) -> str:
    return f"{round(1000 * seconds(text))}ms"


def query(expr: str) -> str:
    """A query on the shorter clock."""
    expr = re.sub(rf"\[{_DURATION}\]", lambda found: f"[{duration(found[0][1:-1])}]", expr)
    expr = re.sub(rf"\boffset {_DURATION}", lambda found: f"offset {duration(found[1] + found[2])}", expr)
    return re.sub(r"(oldest_due_seconds:max > )(\d+)", lambda found: f"{found[1]}{int(found[2]) / FACTOR:g}", expr)


def rule_file(file: Path, folder: Path) -> Path:
    """A copy of a rule file on the shorter clock."""
    content: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    for group in content["groups"]:
        if "interval" in group:
            group["interval"] = duration(group["interval"])
        for rule in group["rules"]:
            rule["expr"] = query(rule["expr"])
            if "for" in rule:
                rule["for"] = duration(rule["for"])
    copy = folder / file.name
    copy.write_text(yaml.safe_dump(content), "utf-8")
    return copy
