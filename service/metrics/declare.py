"""How a series is declared: in the registry of its process, with the way in which several processes are combined."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STEP_BUCKETS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
Across = Literal["sum", "max", "min", "latest"]
"""What stands for the processes that serve one port: of the running ones the sum, the largest or the smallest value,
or the one that was set last, for what is the same for all of them."""
_MODES = {"sum": "livesum", "max": "livemax", "min": "livemin", "latest": "livemostrecent"}


class Declare:
    """Declares series in `registry`. Counters and histograms of several processes are always added up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(
        self, name: str, meaning: str, labels: Sequence[str] = (), *, known: Iterable[Sequence[str]] = ()
    ) -> Counter:
        """`known` are the values of `labels` that are exported as 0 from the start: what first appears as 1 has no
        increase, and an alert on it does not see its first occurrence."""
        counter = Counter(name, meaning, labels, registry=self._registry)
        for values in known:
            counter.labels(*values)
        return counter

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = (), *, across: Across) -> Gauge:
        return Gauge(name, meaning, labels, registry=self._registry, multiprocess_mode=_MODES[across])  # type: ignore[arg-type]

    def histogram(
        self, name: str, meaning: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = REQUEST_BUCKETS
    ) -> Histogram:
        return Histogram(name, meaning, labels, registry=self._registry, buckets=buckets)


class Summed:
    """A gauge that is the sum of what several parts of a process show."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._values: list[float] = []

    def part(self) -> Callable[[float], None]:
        """A new part: call it with each of its values."""
        place = len(self._values)
        self._values.append(0.0)

        def show(value: float) -> None:
            self._values[place] = value
            self._gauge.set(sum(self._values))

        return show
