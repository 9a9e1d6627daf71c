"""How many events a second `POST /events` accepts, beside a bare server on the same machine in the same run.

The ceiling is a Starlette app that parses the same JSON and does one pipelined XADD per event, with the same
uvicorn, uvloop, httptools, orjson, redis-py and hiredis. Both are asked in turns, round by round.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from model_store.serving.launch import free_port
from tests.benchmarks.command import run
from tests.benchmarks.machine import cpu_s
from tests.benchmarks.processes import Bench, Web, bench, child, gateway, wait_for
from tests.benchmarks.tables import Findings, Markdown, bar, percentile, ranged
from tests.benchmarks.traffic import Events, requests, send

OURS, CEILING = "tastestream", "ceiling"
WARM_UP = 3_000
"""Events."""


@dataclass(frozen=True)
class Shape:
    """How the events are sent."""

    name: str
    batch: int
    connections: int


@dataclass(frozen=True)
class Round:
    """One round of one server; CPU in seconds."""

    events: int
    seconds: float
    latencies: list[float]
    server_cpu: float
    redis_cpu: float
    client_cpu: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of each server, in turns.", min=1)] = 15,
    seconds: Annotated[float, typer.Option(help="About how long a round takes.", min=0.1)] = 0.8,
    batch: Annotated[int, typer.Option(help="Events in a batch.", min=2)] = 100,
    connections: Annotated[int, typer.Option(help="Connections that send batches.", min=1)] = 8,
    single_connections: Annotated[int, typer.Option(help="Connections that send single events.", min=1)] = 32,
    users: Annotated[int, typer.Option(help="Users whose events are drawn.", min=1)] = 10_000,
    ids: Annotated[bool, typer.Option("--ids", help="Give every event an event_id.")] = False,
    markdown: Markdown = None,
) -> None:
    """Measure the accept rate against the ceiling of the machine."""
    found = Findings("Accept rate", markdown)
    shapes = [
        Shape(f"batches of {batch}, {connections} connections", batch, connections),
        Shape(f"singly, {single_connections} connections", 1, single_connections),
    ]
    found.say(f"{users:,} users, events {'with' if ids else 'without'} event_id, {rounds} rounds of each in turns.")
    drawn = Events(users, ids=ids)
    with bench() as given, gateway(given) as ours, ceiling(given) as bare, bar() as progress:
        for shape in shapes:
            task = progress.add_task(shape.name, total=2 * rounds)
            servers = {OURS: ours, CEILING: bare}
            # The first round of each warms up and tells how many events fill the others.
            first = {name: one_round(given, web, shape, drawn, WARM_UP) for name, web in servers.items()}
            measured: dict[str, list[Round]] = {name: [] for name in servers}
            for _ in range(rounds):
                for name, web in servers.items():
                    count = max(shape.batch, round(first[name].rate * seconds))
                    measured[name].append(one_round(given, web, shape, drawn, count))
                    progress.advance(task)
            _tell(found, shape, measured[OURS], measured[CEILING])
    found.save()


@contextlib.contextmanager
def ceiling(given: Bench) -> Iterator[Web]:
    """The bare server, once it answers."""
    port = free_port()
    started = child(
        "ceiling",
        "tests.benchmarks.ceiling",
        str(port),
        given.url,
        environment=given.environment(),
        folder=given.folder,
    )
    with started as pid:
        web = Web(port, pid)
        wait_for(f"{web.url}/healthz", given.folder / "ceiling.log")
        yield web


def one_round(given: Bench, web: Web, shape: Shape, drawn: Events, count: int) -> Round:
    """Send `count` fresh events into an empty Redis."""
    given.redis.flushall()
    sent = requests(drawn.draw(count), shape.batch)
    before = [cpu_s(web.pid), cpu_s(given.redis_pid), time.process_time()]
    seconds, latencies = send(web.port, sent, shape.connections)
    after = [cpu_s(web.pid), cpu_s(given.redis_pid), time.process_time()]
    used = [end - start for start, end in zip(before, after, strict=True)]
    return Round(count, seconds, latencies, *used)


def _tell(found: Findings, shape: Shape, ours: list[Round], bare: list[Round]) -> None:
    rows = []
    for name, rounds in ((OURS, ours), (CEILING, bare)):
        latencies = [1000 * latency for one in rounds for latency in one.latencies]
        rows.append(
            [
                name,
                ranged([one.rate for one in rounds]),
                _per_event([one.server_cpu for one in rounds], rounds),
                _per_event([one.redis_cpu for one in rounds], rounds),
                _per_event([one.client_cpu for one in rounds], rounds),
                f"{percentile(latencies, 50):.1f}",
                f"{percentile(latencies, 99):.1f}",
            ]
        )
    ratios = [one.rate / other.rate for one, other in zip(ours, bare, strict=True)]
    found.say(f"{shape.name}; load {os.getloadavg()[0]:.1f}")
    columns = ["", "events/s", "server CPU µs/event", "Redis CPU µs/event", "client CPU µs/event", "p50 ms", "p99 ms"]
    found.table(columns, rows)
    found.say(f"Ratio: {ranged(ratios, 2)}")


def _per_event(cpu: list[float], rounds: list[Round]) -> str:
    return f"{1e6 * sum(cpu) / sum(one.events for one in rounds):.1f}"


if __name__ == "__main__":
    run(main)
