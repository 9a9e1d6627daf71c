"""Calls to the model server, and which of their failures are the server's."""

import time
from collections.abc import Awaitable
from typing import Protocol

from model_store.engine import (
    EngineError,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    PromptTooLong,
)
from service.metrics import Metrics
from workers.job import ServerUnavailable, WorkFailed


class ModelRejected(WorkFailed):
    """The model can make nothing of what it was asked."""


class Server(Protocol):
    async def healthy(self) -> bool: ...


async def answer_of(call: str, answer: Awaitable[str], server: Server, metrics: Metrics) -> str:
    """The model's answer to `call`, timed and counted.

    Raises:
        ServerUnavailable: the server can't answer anything now.
        ModelRejected: it has no answer to this.
    """
    started = time.perf_counter()
    outcome = "cancelled"
    try:
        text = await answer
        outcome = "ok"
        return text
    except EngineError as error:
        outcome = error.code
        rejected = ModelRejected(error.code)
        if await server_failed(server, error):
            suspect = rejected if await _may_be_the_cause(server, error) else None
            raise ServerUnavailable(f"{error.code}: {error}", suspect) from error
        raise rejected from error
    finally:
        metrics.engine_calls.labels("summarizer", call, outcome).inc()
        metrics.engine_seconds.labels("summarizer", call).observe(time.perf_counter() - started)


async def server_failed(server: Server, error: EngineError) -> bool:
    """Whether `error` says something about the server instead of about what it was asked.

    A request that is refused (4xx) is at fault itself, unless the server does not serve the model at all.
    """
    if isinstance(error, EngineUnavailable | EngineTimeout | EngineOverloaded):
        return True
    if isinstance(error, EngineRejected) and not isinstance(error, PromptTooLong):
        return not await server.healthy()
    return False


async def _may_be_the_cause(server: Server, error: EngineError) -> bool:
    """Whether what was asked may itself have caused an apparent outage: a prompt that never ends, or that fails.

    Not if load was shed, and not if the server is really down.
    """
    return isinstance(error, EngineTimeout | EngineUnavailable) and await server.healthy()
