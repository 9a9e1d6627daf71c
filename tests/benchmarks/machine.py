"""What the figures were measured on, and what a process used of it."""

import os
import platform
from pathlib import Path

from tests.redis_servers import version

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def describe(aof: str) -> str:
    """One line: cores, CPU, Python, Redis and its append-only file, and the load of the last minute."""
    cores = len(os.sched_getaffinity(0))
    redis = ".".join(str(number) for number in version())
    return (
        f"{cores} cores, {_cpu()}, Python {platform.python_version()}, Redis {redis} ({aof}), "
        f"load {os.getloadavg()[0]:.1f} at the start"
    )


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, in user and kernel mode; the kernel counts in hundredths."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
