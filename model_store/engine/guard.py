"""What each error of a call says to the circuit breaker of its server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from model_store.engine.breaker import Breaker
from model_store.engine.errors import (
    CircuitOpen,
    EngineError,
    EngineOverloaded,
    EngineTimeout,
    EngineUnavailable,
    WrongScores,
)


@contextmanager
def guarded(breaker: Breaker, url: str) -> Iterator[None]:
    """Tell `breaker` how the call inside went.

    Raises:
        CircuitOpen: the call was not begun.
    """
    permit = breaker.enter()
    if permit is None:
        raise CircuitOpen(f"{url} failed, and is not asked for the next {breaker.wait_s():.1f} s")
    started = time.monotonic()
    try:
        yield
    except EngineTimeout:
        breaker.time_out(permit, time.monotonic() - started)
        raise
    except EngineOverloaded:
        breaker.shed(permit)
        raise
    except (EngineUnavailable, WrongScores):
        breaker.fail(permit)
        raise
    except EngineError:
        breaker.succeed(permit)
        raise
    except BaseException:
        breaker.abandon(permit)
        raise
    breaker.succeed(permit, time.monotonic() - started)
