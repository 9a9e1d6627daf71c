"""Calls to the model server, and which of their failures are the server's."""

import time
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from model_store.engine.errors import (
    CircuitOpen,
    EngineError,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    PromptTooLong,
)
from service.metrics import Metrics
from service.tracing import span
from workers.job import ServerUnavailable, WorkFailed

T = TypeVar("T")


class ModelRejected(WorkFailed):
    """The model has no answer to this prompt."""


class Server(Protocol):
    async def healthy(self) -> bool: ...


async def answer_of(call: str, answer: Awaitable[T], engine: Server, metrics: Metrics, role: str = "summarizer") -> T:
    """The model's answer to `call`, timed and counted for `role`.

    Raises:
        ServerUnavailable: the server can't answer anything now.
        ModelRejected: it can't answer this prompt.
    """
    started = time.perf_counter()
    outcome = "cancelled"
    try:
        with span(call, calls=True):
            found = await answer
        outcome = "ok"
        return found
    except EngineError as error:
        outcome = error.code
        if isinstance(error, CircuitOpen):
            raise ServerUnavailable(f"{error.code}: {error}", asked=False) from error
        rejected = ModelRejected(error.code)
        if await server_failed(engine, error):
            suspect = rejected if await _may_be_the_cause(engine, error) else None
            raise ServerUnavailable(f"{error.code}: {error}", suspect) from error
        raise rejected from error
    finally:
        metrics.count_call(role, call, outcome, time.perf_counter() - started)


async def server_failed(engine: Server, error: EngineError) -> bool:
    """Whether `error` is a failure of the server and not of the prompt.

    A rejected request (4xx) is a failure of the prompt, unless the server does not serve the model at all.
    """
    if isinstance(error, EngineUnavailable | EngineTimeout | EngineOverloaded):
        return True
    if isinstance(error, EngineRejected) and not isinstance(error, PromptTooLong):
        return not await engine.healthy()
    return False


async def _may_be_the_cause(engine: Server, error: EngineError) -> bool:
    """Whether the prompt itself may have caused an apparent outage: its answer never ends, or it crashes the server.

    Not if the server shed load, and not if it is really down.
    """
    return isinstance(error, EngineTimeout | EngineUnavailable) and await engine.healthy()
