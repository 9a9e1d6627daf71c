"""Requests counted by how they went for the service level objectives of `service.metrics.objectives`."""

from collections.abc import Iterable, Mapping
from typing import Literal

from prometheus_client import Counter
from starlette.types import Scope

from service.errors import RateLimited
from service.http.problems import ERROR
from service.metrics import Metrics
from service.metrics.objectives import EVENTS_RESULTS, RECOMMEND_RESULTS

Short = Literal["degraded", "late", "refused"]
"""How an answered request fell short of its objective."""
_SHORT = "tastestream.short"


def judge(scope: Scope, short: Short) -> None:
    """Note that the answer to this request falls short of the objective, whatever its status."""
    scope[_SHORT] = short


class Objectives:
    """Counts each request to `/recommend` and `/events` with one result. Those that fail by the caller's fault (4xx
    except 429, and 429 for more requests than its key may send) or whose caller has left say nothing about the service.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._results = {
            "/recommend": (_by_result(metrics.recommend_slo, RECOMMEND_RESULTS), "good", "failed"),
            "/events": (_by_result(metrics.events_slo, EVENTS_RESULTS), "accepted", "refused"),
        }

    def count(self, scope: Scope, status: int) -> None:
        """`status` is that of the answer, 0 if there was none."""
        counted = self._results.get(scope["path"])
        if counted is None or scope["method"] != "POST":
            return
        results, good, failed = counted
        if 200 <= status < 400:
            results[scope.get(_SHORT, good)].inc()
        elif status >= 500 or (status == 429 and scope.get(ERROR) != RateLimited.code):
            results[failed].inc()


def _by_result(counter: Counter, results: Iterable[str]) -> Mapping[str, Counter]:
    return {result: counter.labels(result) for result in results}
