"""Every Prometheus series, declared once. No user id, item id or text is ever a label."""

import platform
from collections.abc import Callable
from functools import cache
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.metrics.declare import Declare
from service.metrics.embeddings import EmbeddingSeries
from service.metrics.encoder import EncoderSeries
from service.metrics.events import CatalogueSeries, EventSeries
from service.metrics.http import HttpSeries
from service.metrics.models import ModelSeries
from service.metrics.objectives import ObjectiveSeries
from service.metrics.recommend import RecommendSeries
from service.metrics.rollout import RolloutSeries
from service.metrics.shared import ProcessSeries, Shared
from service.metrics.store import StoreSeries
from service.metrics.workers import WorkerSeries


class Metrics(
    HttpSeries,
    EventSeries,
    CatalogueSeries,
    RecommendSeries,
    RolloutSeries,
    ModelSeries,
    WorkerSeries,
    EncoderSeries,
    EmbeddingSeries,
    StoreSeries,
    ObjectiveSeries,
):
    """The series of one process, in their own registry.

    Args:
        shared: where it meets the other processes that serve the same port.
    """

    def __init__(self, shared: Shared | None = None) -> None:
        self.registry = CollectorRegistry()
        self.is_shared = shared is not None
        self._computed: list[tuple[Gauge, Callable[[], float]]] = []
        declare = Declare(self.registry)
        if shared is None:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            self._served, self._process = self.registry, None
        else:
            shared.keep_values()
            self._served, self._process = shared.registry(), ProcessSeries(declare)
        HttpSeries.__init__(self, declare)
        EventSeries.__init__(self, declare)
        CatalogueSeries.__init__(self, declare)
        RecommendSeries.__init__(self, declare)
        RolloutSeries.__init__(self, declare)
        ModelSeries.__init__(self, declare)
        WorkerSeries.__init__(self, declare)
        EncoderSeries.__init__(self, declare)
        EmbeddingSeries.__init__(self, declare)
        StoreSeries.__init__(self, declare)
        ObjectiveSeries.__init__(self, declare)
        self.build_info = declare.gauge(
            "tastestream_build_info",
            "1, with the version of the service and of Python.",
            ("version", "python"),
            across="latest",
        )
        self.build_info.labels(version("tastestream"), platform.python_version()).set(1)
        self.compute(self.last_event, lambda: self.last_event_s)
        _cache_labels(self.request_seconds, self.events)

    def compute(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Let `gauge` show what `value` returns when the page is made; of another process, at the last `refresh`."""
        if self.is_shared:
            self._computed.append((gauge, value))
        else:
            gauge.set_function(value)

    def refresh(self) -> None:
        """Let the other processes know what is only computed here. Does nothing if there are none."""
        if self._process is not None:
            self._process.refresh()
        for gauge, value in self._computed:
            gauge.set(value())

    def page(self) -> bytes:
        """All series, in Prometheus's text format. With several processes it reads their files, which takes longer."""
        return generate_latest(self._served)


def _cache_labels(*metrics: MetricWrapperBase) -> None:
    """Find the series of `metrics` without a lock and label checks, because every request needs them."""
    for metric in metrics:
        metric.labels = cache(metric.labels)  # type: ignore[method-assign]
