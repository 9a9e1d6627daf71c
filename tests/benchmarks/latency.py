"""Whether accepting an event stays as quick when Redis holds more users.

Each size has a Redis and a gateway of its own, filled with users of 20 recents and a summary; they are asked in turns,
one request at a time. The growth is what one wants to see at 1.0. Events of users drawn from all meet the more users
without pending events, the more there are; those of a thousand of them meet the same work at each size.
"""

import contextlib
import os
from dataclasses import dataclass, field
from statistics import median
from typing import Annotated

import typer
from rich.progress import Progress

from tests.benchmarks.command import run
from tests.benchmarks.fill import fill
from tests.benchmarks.processes import Web, bench, gateway
from tests.benchmarks.tables import Findings, Markdown, bar, percentile
from tests.benchmarks.traffic import Events, requests, send

SIZES = (1_000, 10_000, 100_000, 1_000_000)
ACTIVE = 1_000


@dataclass(frozen=True)
class Shape:
    """Requests of `batch` events each, of `active` users or of all."""

    batch: int
    active: int | None = None

    def __str__(self) -> str:
        events = "Single events" if self.batch == 1 else f"Batches of {self.batch}"
        return f"{events} of {'users drawn from all' if self.active is None else f'the same {self.active:,} users'}"


SHAPES = (Shape(1), Shape(100), Shape(1, ACTIVE), Shape(100, ACTIVE))


@dataclass
class Service:
    """A gateway whose Redis holds `users` users, and the latencies in ms of each round, by shape."""

    users: int
    web: Web
    drawn: dict[Shape, Events]
    rounds: dict[Shape, list[list[float]]] = field(default_factory=lambda: {shape: [] for shape in SHAPES})


def main(
    users: Annotated[
        int, typer.Option(help="The most users; 1000000 takes a quarter of an hour to fill.", min=1_000)
    ] = 100_000,
    rounds: Annotated[int, typer.Option(help="Rounds of each size, in turns.", min=1)] = 7,
    singles: Annotated[int, typer.Option(help="Single events in a round.", min=1)] = 1_000,
    batches: Annotated[int, typer.Option(help="Batches of 100 in a round.", min=1)] = 50,
    markdown: Markdown = None,
) -> None:
    """Measure the latency of accept with more and more users."""
    found = Findings("Accept latency", markdown)
    counts = {1: singles, 100: batches}
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(bar())
        services = [_start(stack, size, progress) for size in SIZES if size <= users]
        task = progress.add_task("asking", total=(rounds + 1) * len(services) * len(SHAPES))
        for turn in range(rounds + 1):
            for shape in SHAPES:
                for service in services:
                    sent = requests(service.drawn[shape].draw(counts[shape.batch] * shape.batch), shape.batch)
                    _, latencies = send(service.web.port, sent, connections=1)
                    # The first round warms up.
                    if turn:
                        service.rounds[shape].append([1000 * latency for latency in latencies])
                    progress.advance(task)
        found.say(f"One connection, {rounds} rounds of each size in turns; load {os.getloadavg()[0]:.1f} at the end.")
        for shape in SHAPES:
            found.say(f"{shape}, {counts[shape.batch]:,} requests a round")
            found.table(["users", "p50 ms", "p95 ms", "p99 ms", "p50 / smallest"], _rows(services, shape))
    found.save()


def _start(stack: contextlib.ExitStack, size: int, progress: Progress) -> Service:
    given = stack.enter_context(bench())
    task = progress.add_task(f"filling {size:,} users", total=size)
    fill(given.url, size, tick=lambda done: progress.advance(task, done))
    drawn = {shape: Events(size, seed=number, active=shape.active) for number, shape in enumerate(SHAPES)}
    return Service(size, stack.enter_context(gateway(given)), drawn)


def _rows(services: list[Service], shape: Shape) -> list[list[str]]:
    middles = [[percentile(one, 50) for one in service.rounds[shape]] for service in services]
    rows = []
    for service, own in zip(services, middles, strict=True):
        latencies = [latency for one in service.rounds[shape] for latency in one]
        growth = median(mine / first for mine, first in zip(own, middles[0], strict=True))
        shares = [f"{percentile(latencies, percent):.2f}" for percent in (50, 95, 99)]
        rows.append([f"{service.users:,}", *shares, f"{growth:.2f}"])
    return rows


if __name__ == "__main__":
    run(main)
