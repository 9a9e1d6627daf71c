"""How soon what a user did is known: to the next recommendation, and in the summary.

A real gateway, a real worker and a real vLLM with the demo's summarizer. First the worker's capacity is measured: users
folded per second from a backlog. Then users arrive at random (Poisson) at shares of it. Each posts a full block of
events; after the 202 the very next request asks for a recommendation among the items just met: it knows the events if
it leaves those items out as seen. When the events are in the summary, the summary itself says (`updated_at`), to the
millisecond and by the same clock. The last line is of users who post one event alone, which waits for `max_wait`.
"""

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx
import typer

from model_store.errors import UserError
from service.settings import Settings
from service.settings.state import StateSettings
from service.settings.worker import WorkerSettings
from service.state.records import Event
from service.state.store import Store
from tests.benchmarks.command import run
from tests.benchmarks.folds import BLOCK, fold_rate, started
from tests.benchmarks.processes import Bench, bench, gateway, worker
from tests.benchmarks.tables import Findings, Markdown, bar, percentile
from tests.benchmarks.vllm import Served, World, summarizer

SHARES = (0.1, 0.5, 0.9)
CAPACITY_USERS = 400
_FOLD_S = 120.0


@dataclass(frozen=True)
class Load:
    """`rate` users a second, each with `block` events."""

    name: str
    rate: float
    block: int


@dataclass(frozen=True)
class Seen:
    """What one user met; times in seconds."""

    accepted_at: float
    recommended_s: float
    known: bool


def main(
    seconds: Annotated[float, typer.Option(help="How long users arrive at each share.", min=1)] = 30.0,
    markdown: Markdown = None,
) -> None:
    """Measure how long events take to be known."""
    found = Findings("Freshness", markdown)
    world, default = World(), WorkerSettings().max_concurrent_summaries
    with tempfile.TemporaryDirectory() as folder, bar() as progress, summarizer(Path(folder), progress) as served:
        with bench() as given:
            people = world.people(CAPACITY_USERS, 4 * BLOCK, seed=1)
            capacity = fold_rate(given, served, world, people, default).rate
        loads = [Load(f"{share:.0%} of the capacity", share * capacity, BLOCK) for share in SHARES]
        loads.append(Load(f"{SHARES[0]:.0%}, one event alone", SHARES[0] * capacity, 1))
        task = progress.add_task("users arriving", total=sum(round(load.rate * seconds) for load in loads))
        tick = partial(progress.advance, task, 1)
        rows = [_measure(served, world, load, seconds, tick) for load in loads]
    found.say(
        f"Capacity: {capacity:.1f} folds/s with {default} at a time. Users arrive for {seconds:.0f} s at each share; "
        f"an incomplete block waits {StateSettings().max_wait_s:.0f} s; load {os.getloadavg()[0]:.1f} at the end."
    )
    found.table(COLUMNS, rows)
    found.save()


COLUMNS = (
    "",
    "users/s",
    "users",
    "known to the next request",
    "its answer p50 ms",
    "p95 ms",
    "in the summary p50 s",
    "p95 s",
)


def _measure(served: Served, world: World, load: Load, seconds: float, tick: Callable[[], None]) -> list[str]:
    people = [person.events[: load.block] for person in world.people(round(load.rate * seconds), 4 * BLOCK, seed=2)]
    with bench() as given, gateway(given) as web, worker(given, **served.environment) as pid:
        started(given, pid)
        seen, folded = asyncio.run(_arrive(given, world, web.url, people, load.rate, tick))
    known = sum(one.known for one in seen)
    asked = [1000 * one.recommended_s for one in seen]
    waited = [end - one.accepted_at for end, one in zip(folded, seen, strict=True)]
    return [
        load.name,
        f"{load.rate:.1f}",
        f"{len(seen)}",
        f"{known} of {len(seen)}",
        f"{percentile(asked, 50):.1f}",
        f"{percentile(asked, 95):.1f}",
        f"{percentile(waited, 50):.2f}",
        f"{percentile(waited, 95):.2f}",
    ]


async def _arrive(
    given: Bench, world: World, url: str, people: Sequence[list[Event]], rate: float, tick: Callable[[], None]
) -> tuple[list[Seen], list[float]]:
    """What every user met, and when the summary had it."""
    store = Store(Settings(redis_url=given.url))
    await store.items.put_many(list(world.items.values()))
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        pause = random.Random(0)
        visits = []
        begin, at = time.perf_counter(), 0.0
        for events in people:
            at += pause.expovariate(rate)
            await asyncio.sleep(max(0.0, begin + at - time.perf_counter()))
            visits.append(asyncio.create_task(_visit(client, events, tick)))
        seen = await asyncio.gather(*visits)
    folded = await _folded(store, [events[0].user_id for events in people])
    await store.close()
    return seen, folded


async def _visit(client: httpx.AsyncClient, events: list[Event], tick: Callable[[], None]) -> Seen:
    user = events[0].user_id
    body = [
        {"user_id": user, "item_id": event.item_id, "type": event.type, "timestamp": event.timestamp_ms / 1000}
        for event in events
    ]
    (await client.post("/events", json=body)).raise_for_status()
    accepted_at, asked_at = time.time(), time.perf_counter()
    items = [event.item_id for event in events]
    answer = (await client.post("/recommend", json={"user_id": user, "candidates": items})).raise_for_status().json()
    took = time.perf_counter() - asked_at
    left_out = {skipped["item_id"] for skipped in answer["skipped"] if skipped["reason"] == "seen"}
    tick()
    return Seen(accepted_at, took, left_out == set(items))


async def _folded(store: Store, users: list[str]) -> list[float]:
    deadline = time.monotonic() + _FOLD_S
    while True:
        states = [await store.users.read(user) for user in users]
        moments = [state.summary.updated_at_ms / 1000 for state in states if state.summary and not state.pending]
        if len(moments) == len(users):
            return moments
        if time.monotonic() > deadline:
            raise UserError(f"{len(users) - len(moments)} users were not folded within {_FOLD_S:.0f} s")
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    run(main)
