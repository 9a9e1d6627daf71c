"""How much memory is free on this machine, or in the container that this process runs in."""

import re
from pathlib import Path

GIB = 2**30
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB", re.MULTILINE)
_RECLAIMABLE = re.compile(r"^inactive_file (\d+)", re.MULTILINE)


def free_bytes() -> int | None:
    """Memory that can be had without swapping; None if unknown."""
    known = [found for found in (_of_machine(), _of_container()) if found is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    found = _AVAILABLE.search(_MEMINFO.read_text()) if _MEMINFO.exists() else None
    return 1024 * int(found[1]) if found else None


def _of_container() -> int | None:
    """What its limit leaves (cgroup v2); None without a limit. The cache of files that nobody uses makes room."""
    try:
        limit, used = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        cached = _RECLAIMABLE.search((_CGROUP / "memory.stat").read_text())
    except OSError:
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - int(used) + (int(cached[1]) if cached else 0))
