"""A summarizer that records its calls and fails on request."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from model_store.engine.breaker import Breaker
from model_store.views import InteractionView, ItemView

Fault = Callable[[str, Sequence[InteractionView]], Awaitable[None]]


async def no_fault(summary: str, block: Sequence[InteractionView]) -> None:
    """Answer every call."""


@dataclass
class RecordingSummarizer:
    """Answers with the old summary and the block's titles: a summary shows what was folded, in order."""

    fault: Fault = no_fault
    serves: bool = True
    blocks: list[list[str]] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    described: list[ItemView] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    breaker: Breaker = field(default_factory=Breaker)

    @property
    def id(self) -> str:
        return "double@1"

    async def summarize(self, summary: str, block: Sequence[InteractionView], *, attempt: int = 0) -> str:
        self.in_flight += 1
        self.attempts.append(attempt)
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)
            await self.fault(summary, block)
        finally:
            self.in_flight -= 1
        self.blocks.append(titles(block))
        return " ".join([*summary.split(), *titles(block)])

    async def describe(self, item: ItemView, *, attempt: int = 0) -> str:
        await self.fault(item.title, ())
        self.described.append(item)
        return f"a picture of {item.title}"

    async def healthy(self) -> bool:
        return self.serves


def titles(block: Sequence[InteractionView]) -> list[str]:
    return [view.item.title if view.item else "?" for view in block]
