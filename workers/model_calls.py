"""Asking the model, and what can keep work from being done: it, or what it needs."""

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


class Refused(Exception):
    """The model can't make anything of what it was asked; `count` events were in it."""

    def __init__(self, reason: str, count: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.count = count


class Outage(Exception):
    """Something that all work needs seems to be down.

    `suspect` is what the claim at hand is to blame for if other work gets through meanwhile; None
    when it can't be to blame.
    """

    def __init__(self, message: str, suspect: Refused | None = None) -> None:
        super().__init__(message)
        self.suspect = suspect


class Server(Protocol):
    async def healthy(self) -> bool: ...


async def answered(call: str, answer: Awaitable[str], server: Server, metrics: Metrics, count: int = 0) -> str:
    """Await the model's answer to `call`, timed and counted.

    Args:
        count: how many events were in the question.

    Raises:
        Outage: the server can't answer anything now.
        Refused: it has no answer to this.
    """
    started = time.perf_counter()
    outcome = "cancelled"
    try:
        text = await answer
        outcome = "ok"
        return text
    except EngineError as error:
        outcome = error.code
        if await is_outage(server, error):
            suspect = Refused(error.code, count) if await is_suspect(server, error) else None
            raise Outage(f"{error.code}: {error}", suspect) from error
        raise Refused(error.code, count) from error
    finally:
        metrics.engine_calls.labels("summarizer", call, outcome).inc()
        metrics.engine_seconds.labels("summarizer", call).observe(time.perf_counter() - started)


async def is_outage(server: Server, error: EngineError) -> bool:
    """Whether `error` says something about the server instead of about what it was asked.

    A request that is refused (4xx) is at fault itself, unless the server does not serve the model at all.
    """
    if isinstance(error, EngineUnavailable | EngineTimeout | EngineOverloaded):
        return True
    if isinstance(error, EngineRejected) and not isinstance(error, PromptTooLong):
        return not await server.healthy()
    return False


async def is_suspect(server: Server, error: EngineError) -> bool:
    """Whether what was asked may itself be the cause of an apparent outage: a prompt that never ends, or that fails.

    Not if load was shed, and not if the server is really down.
    """
    return isinstance(error, EngineTimeout | EngineUnavailable) and await server.healthy()
