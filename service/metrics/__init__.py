"""Every Prometheus series, declared once. No user id, item id or text is ever a label."""

import platform
from functools import cache
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.metrics.declare import Declare
from service.metrics.events import CatalogueSeries, EventSeries
from service.metrics.http import HttpSeries
from service.metrics.models import ModelSeries
from service.metrics.objectives import ObjectiveSeries
from service.metrics.recommend import RecommendSeries
from service.metrics.store import StoreSeries
from service.metrics.workers import WorkerSeries


class Metrics(
    HttpSeries, EventSeries, CatalogueSeries, RecommendSeries, ModelSeries, WorkerSeries, StoreSeries, ObjectiveSeries
):
    """The series of one process, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        declare = Declare(self.registry)
        HttpSeries.__init__(self, declare)
        EventSeries.__init__(self, declare)
        CatalogueSeries.__init__(self, declare)
        RecommendSeries.__init__(self, declare)
        ModelSeries.__init__(self, declare)
        WorkerSeries.__init__(self, declare)
        StoreSeries.__init__(self, declare)
        ObjectiveSeries.__init__(self, declare)
        self.build_info = declare.gauge(
            "tastestream_build_info",
            "1, with the version of the service and of Python.",
            ("version", "python"),
            across="latest",
        )
        self.build_info.labels(version("tastestream"), platform.python_version()).set(1)
        _cache_labels(self.request_seconds, self.events)


def _cache_labels(*metrics: MetricWrapperBase) -> None:
    """Find the series of `metrics` without a lock and label checks, because every request needs them."""
    for metric in metrics:
        metric.labels = cache(metric.labels)  # type: ignore[method-assign]
