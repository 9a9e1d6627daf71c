"""Recommending without a dependency that fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from service.errors import StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics
from service.state.reads import Answer

T = TypeVar("T")
log = get_logger(__name__)


@contextmanager
def optional(dependency: str, metrics: Metrics) -> Iterator[None]:
    """Skip the rest of the block when its store fails or is late, count that and log it."""
    try:
        yield
    except (StateUnavailable, TimeoutError, OSError) as error:
        metrics.dependency_failures.labels(dependency).inc()
        log.warning("dependency_skipped", dependency=dependency, error=type(error).__name__)


def value_or(default: T, answer: Answer[T], dependency: str, metrics: Metrics) -> T:
    """The value of an optional read, or `default` if it failed."""
    with optional(dependency, metrics):
        return answer.value()
    return default
