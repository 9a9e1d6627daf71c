"""Going on without a part of a recommendation."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import StateUnavailable
from service.logs import get_logger
from service.metrics import Metrics

log = get_logger(__name__)


@contextmanager
def tolerating(part: str, metrics: Metrics) -> Iterator[None]:
    """Go on without this part when its store fails or is late: an answer with less beats none."""
    try:
        yield
    except (StateUnavailable, TimeoutError, OSError) as error:
        metrics.evidence_failures.labels(part).inc()
        log.warning("recommending_without", part=part, error=type(error).__name__)
