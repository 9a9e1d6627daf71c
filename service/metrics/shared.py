"""One page of series for the processes of a gateway, whichever of them is asked for it.

Each process keeps its values in files of a common folder, named after its number (the multiprocess mode of
prometheus_client). When a process dies, the one that replaces it has the same number and goes on with its counters and
histograms, so that they never fall and the files do not become more. Gauges begin anew.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.metrics.declare import Declare


@dataclass(frozen=True, slots=True)
class Shared:
    """The place of one process in the common folder; no two running processes may have the same `number`."""

    folder: Path
    number: int

    def keep_values(self) -> None:
        """Keep the values of all series that this process declares from now on in the folder."""
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self.folder)
        values.ValueClass = values.MultiProcessValue(lambda: self.number)  # type: ignore[no-untyped-call]

    def registry(self) -> CollectorRegistry:
        """The series of all processes together."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self.folder))  # type: ignore[no-untyped-call]
        PlatformCollector(registry=registry)
        return registry


class ProcessSeries:
    """`process_*` of several processes together, which prometheus_client has only for one. The process that started
    them is not included: it does next to nothing."""

    def __init__(self, declare: Declare) -> None:
        self._cpu = declare.counter(
            "process_cpu_seconds_total", "Total user and system CPU time spent in seconds, of all processes."
        )
        self._gauges = {
            "process_virtual_memory_bytes": declare.gauge(
                "process_virtual_memory_bytes", "Virtual memory size in bytes, of all processes.", across="sum"
            ),
            "process_resident_memory_bytes": declare.gauge(
                "process_resident_memory_bytes", "Resident memory size in bytes, of all processes.", across="sum"
            ),
            "process_start_time_seconds": declare.gauge(
                "process_start_time_seconds",
                "Start time of the oldest process in Unix time.",
                across="min",
            ),
            "process_open_fds": declare.gauge(
                "process_open_fds", "Open file descriptors of the process that has the most.", across="max"
            ),
            "process_max_fds": declare.gauge(
                "process_max_fds", "Maximum number of open file descriptors of one process.", across="min"
            ),
        }
        self._cpu_s = 0.0
        self._own = ProcessCollector(registry=None)

    def refresh(self) -> None:
        """Set the series to what the process has used until now."""
        for family in self._own.collect():
            value = family.samples[0].value
            if family.name == "process_cpu_seconds":
                self._cpu.inc(value - self._cpu_s)
                self._cpu_s = value
            else:
                self._gauges[family.name].set(value)
