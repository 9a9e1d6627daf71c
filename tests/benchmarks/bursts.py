"""How many LLM calls a burst of events costs.

A real gateway, a real worker with its default settings, and a summarizer that takes its time, counts its calls and
remembers how many events were in each. Every user gets a burst of the same length: in one request, as after an outage
of the event stream, or its events one by one in turns with those of the other users, as from people who click.
"""

import asyncio
import contextlib
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from model_store.errors import UserError
from service.settings import Settings
from service.settings.state import StateSettings
from service.state.records import Item
from service.state.store import Store
from tests.benchmarks.command import run
from tests.benchmarks.processes import Bench, bench, gateway, worker
from tests.benchmarks.tables import Findings, Markdown, bar
from tests.benchmarks.traffic import exchange, requests, user_id
from tests.faults.summarizer import SummarizerServer

LENGTHS = (1, 3, 10, 30, 100, 300)
ITEM = "bench-item-"
_ITEM = re.compile(rf"\b{ITEM}\d+\b")
_FOLD_S = 120.0


@dataclass
class CountingServer(SummarizerServer):
    """Answers every prompt with the same few words after `seconds`; `blocks` tells how many events were in each."""

    seconds: float = 0.0
    blocks: list[int] = field(default_factory=list)

    async def answer(self, prompt: str) -> str:
        self.blocks.append(len(_ITEM.findall(prompt)))
        await asyncio.sleep(self.seconds)
        return "Likes this and that."


@dataclass(frozen=True)
class Burst:
    """The calls that `users` bursts of `length` events cost, as the sizes of their blocks."""

    length: int
    users: int
    blocks: list[int]
    seconds: float

    def row(self) -> list[str]:
        sizes = Counter(self.blocks)
        calls = len(self.blocks)
        return [
            f"{self.length}",
            f"{calls / self.users:.2f}",
            f"{calls / (self.length * self.users):.3f}",
            f"{min(sizes)} .. {max(sizes)}",
            f"{sizes.most_common(1)[0][0]}",
            f"{self.seconds:.1f}",
        ]


def main(
    users: Annotated[int, typer.Option(help="Users who get a burst each.", min=1)] = 20,
    answer_ms: Annotated[float, typer.Option(help="How long the summarizer takes for an answer.", min=0)] = 200.0,
    markdown: Markdown = None,
) -> None:
    """Measure the LLM calls per event under bursts."""
    found = Findings("LLM calls under bursts", markdown)
    state = StateSettings()
    found.say(
        f"{users} users, an answer takes {answer_ms:.0f} ms; blocks of {state.block_size}, catching up of at most "
        f"{state.catch_up_block}, {state.claim_blocks} in a claim, an event waits at most {state.max_wait_s:.0f} s."
    )
    with bench() as given, bar() as progress:
        task = progress.add_task("bursts", total=2 * len(LENGTHS))
        told = asyncio.run(_measure(given, users, answer_ms / 1000, lambda: progress.advance(task)))
    columns = ["events of a user", "calls per user", "calls per event", "block sizes", "most often", "seconds"]
    for name, bursts in told.items():
        found.say(name)
        found.table(columns, [burst.row() for burst in bursts])
    found.save()


async def _measure(given: Bench, users: int, answer_s: float, tick: Any) -> dict[str, list[Burst]]:
    store = Store(Settings(redis_url=given.url))
    bursts: dict[str, list[Burst]] = {}
    server = CountingServer(seconds=answer_s)
    async with server:
        with contextlib.ExitStack() as stack:
            engine = {"SUMMARIZER__URL": server.url, "SUMMARIZER__MODEL": "double"}
            # The gateway asks no model: without one it takes events as well.
            port = (await asyncio.to_thread(stack.enter_context, gateway(given))).port
            stack.enter_context(worker(given, **engine))
            names = [f"{ITEM}{number}" for number in range(max(LENGTHS))]
            await store.items.put_many([Item(name, name) for name in names])
            first = 0
            for name, batched in (("A user's burst in one request", True), ("One by one, users in turns", False)):
                for length in LENGTHS:
                    people = [user_id(first + number) for number in range(users)]
                    bursts.setdefault(name, []).append(await _burst(store, server, port, people, length, batched))
                    first += users
                    tick()
    await store.close()
    return bursts


async def _burst(
    store: Store, server: CountingServer, port: int, people: list[str], length: int, batched: bool
) -> Burst:
    server.blocks.clear()
    started = time.monotonic()
    events = [[_event(user, number) for number in range(length)] for user in people]
    ordered = events if batched else list(zip(*events, strict=True))
    sent = [event for group in ordered for event in group]
    await exchange(port, requests(sent, length if batched else 1), 1)
    deadline = time.monotonic() + _FOLD_S
    while any(state.pending for state in await asyncio.gather(*map(store.users.read, people))):
        if time.monotonic() > deadline:
            raise UserError(f"the worker did not fold {length} events per user within {_FOLD_S:.0f} s")
        await asyncio.sleep(0.05)
    return Burst(length, len(people), list(server.blocks), time.monotonic() - started)


def _event(user: str, number: int) -> dict[str, object]:
    return {"user_id": user, "item_id": f"{ITEM}{number}", "type": "click", "timestamp": 1_750_000_000 + number}


if __name__ == "__main__":
    run(main)
