"""What can keep work from being done: it, or what it needs."""

from typing import Protocol

from model_store.engine import (
    EngineError,
    EngineOverloaded,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    PromptTooLong,
)


class Outage(Exception):
    """Something that all work needs is down; says nothing about the claim at hand."""


class Refused(Exception):
    """The model can't make anything of what it was asked; `count` events were in it."""

    def __init__(self, reason: str, count: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.count = count


class Server(Protocol):
    async def healthy(self) -> bool: ...


async def is_outage(server: Server, error: EngineError) -> bool:
    """Whether `error` says something about the server instead of about what it was asked.

    A request that is refused (4xx) is at fault itself, unless the server does not serve the model at all.
    """
    if isinstance(error, EngineUnavailable | EngineTimeout | EngineOverloaded):
        return True
    if isinstance(error, EngineRejected) and not isinstance(error, PromptTooLong):
        return not await server.healthy()
    return False
