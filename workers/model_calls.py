"""Calls to the model server, and which of their failures are the server's."""

import time
from collections.abc import Awaitable

from model_store.engine.engine import Engine
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


class ModelRejected(WorkFailed):
    """The model has no answer to this prompt."""


async def answer_of(call: str, answer: Awaitable[str], engine: Engine, metrics: Metrics) -> str:
    """The model's answer to `call`, timed and counted.

    Raises:
        ServerUnavailable: the server can't answer anything now.
        ModelRejected: it can't answer this prompt.
    """
    started = time.perf_counter()
    outcome = "cancelled"
    try:
        with span(call, calls=True):
            text = await answer
        outcome = "ok"
        return text
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
        metrics.count_call("summarizer", call, outcome, time.perf_counter() - started)


async def server_failed(engine: Engine, error: EngineError) -> bool:
    """Whether `error` is a failure of the server and not of the prompt.

    A rejected request (4xx) is a failure of the prompt, unless the server does not serve the model at all.
    """
    if isinstance(error, EngineUnavailable | EngineTimeout | EngineOverloaded):
        return True
    if isinstance(error, EngineRejected) and not isinstance(error, PromptTooLong):
        return not await engine.healthy()
    return False


async def _may_be_the_cause(engine: Engine, error: EngineError) -> bool:
    """Whether the prompt itself may have caused an apparent outage: its answer never ends, or it crashes the server.

    Not if the server shed load, and not if it is really down.
    """
    return isinstance(error, EngineTimeout | EngineUnavailable) and await engine.healthy()
