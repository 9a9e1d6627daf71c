"""What a 202 promises and what the promise costs: fsync, replicas waited for, disks waited for.

Every level has a Redis, perhaps a replica, and a gateway of its own. The latencies are measured over one
connection, in turns, round by round. Then every Redis is killed with SIGKILL under load, and what was acknowledged is
looked for: after a restart of that Redis, and on its replica, which was cut off shortly before and is promoted.
What a power failure leaves cannot be tried here.

WAITAOF needs Redis 7.2: `TEST_REDIS_SERVER=/path/to/redis-server python -m tests.benchmarks.durability`.
"""

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import Annotated

import httpx
import typer

from service.settings.state import StateSettings
from service.state.keys import Keys
from tests.benchmarks.command import run
from tests.benchmarks.processes import Bench, Web, free_port, gateway
from tests.benchmarks.tables import Findings, Markdown, bar
from tests.benchmarks.traffic import Events, requests, send
from tests.redis_servers import RedisServer, has_waitaof, until

BATCH = 100
WAIT_S = 3.0
NO_AOF = ("--appendonly", "no")
EVERY_SECOND = ("--appendfsync", "everysec")
ALWAYS = ("--appendfsync", "always")


@dataclass(frozen=True)
class Level:
    """How Redis keeps what it was given, and what the gateway waits for."""

    name: str
    options: tuple[str, ...]
    power: str
    replica: bool = False
    wait_replicas: int = 0
    wait_aof: bool = False


LEVELS = (
    Level("no AOF", NO_AOF, "all is lost"),
    Level("AOF, everysec", EVERY_SECOND, "the last 1 to 2 s are lost"),
    Level("AOF, always", ALWAYS, "kept"),
    Level("everysec, replica not waited for", EVERY_SECOND, "the last 1 to 2 s are lost", replica=True),
    Level("everysec, WAIT 1", EVERY_SECOND, "kept, if one of the two machines has power", True, 1),
    Level("everysec, WAITAOF 1 0", EVERY_SECOND, "kept", wait_aof=True),
    Level("always, WAITAOF 1 0", ALWAYS, "kept", wait_aof=True),
    Level("everysec, WAITAOF 1 1", EVERY_SECOND, "kept, on both disks", True, 1, True),
    Level("always, WAITAOF 1 1", ALWAYS, "kept, on both disks", True, 1, True),
)


@dataclass
class Service:
    """The processes of one level, and what was measured of it: latencies in ms, trials in words."""

    level: Level
    port: int
    primary: RedisServer
    replica: RedisServer | None
    web: Web
    drawn: Events = field(default_factory=lambda: Events(10_000))
    latencies: dict[int, list[float]] = field(default_factory=lambda: {1: [], BATCH: []})
    killed: str = ""
    failed_over: str = "no replica"


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of each level, in turns.", min=1)] = 3,
    singles: Annotated[int, typer.Option(help="Single events in a round, up to a second each.", min=1)] = 20,
    batches: Annotated[int, typer.Option(help=f"Batches of {BATCH} in a round.", min=1)] = 5,
    load_s: Annotated[float, typer.Option(help="How long events are sent before a Redis is killed.", min=0.1)] = 1.0,
    markdown: Markdown = None,
) -> None:
    """Measure the price of every level of durability, and try what it survives."""
    found = Findings("What a 202 promises", markdown, "AOF as each level says")
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(bar())
        levels = [level for level in LEVELS if has_waitaof() or not level.wait_aof]
        task = progress.add_task("starting", total=len(levels))
        services = []
        for level in levels:
            services.append(stack.enter_context(_running(level)))
            progress.advance(task)
        task = progress.add_task("asking", total=(rounds + 1) * len(services))
        for turn in range(rounds + 1):
            for service in services:
                for batch, times in ((1, singles), (BATCH, batches)):
                    sent = requests(service.drawn.draw(batch * times), batch)
                    _, latencies = send(service.web.port, sent, connections=1)
                    # The first round warms up.
                    service.latencies[batch] += [1000 * latency for latency in latencies] if turn else []
                progress.advance(task)
        task = progress.add_task("killing", total=len(services))
        for service in services:
            _try_kill(service, load_s)
            _try_failover(service, load_s)
            progress.advance(task)
    if len(levels) < len(LEVELS):
        found.say("This Redis has no WAITAOF (it came with 7.2): name another one with TEST_REDIS_SERVER.")
    found.say(f"One connection, {rounds} rounds of {singles} single events and of {batches} batches, in turns.")
    found.table(
        ["level", "kill -9 of Redis", "power failure (not tried)", "failover", "one event ms", f"{BATCH} events ms"],
        [_row(service) for service in services],
    )
    found.save()


def _row(service: Service) -> list[str]:
    prices = [f"{median(service.latencies[batch]):.2f}" for batch in (1, BATCH)]
    return [service.level.name, service.killed, service.level.power, service.failed_over, *prices]


@contextlib.contextmanager
def _running(level: Level) -> Iterator[Service]:
    with contextlib.ExitStack() as stack:
        port = free_port()
        primary = _server(stack, port, level)
        replica = _server(stack, free_port(), level, "--replicaof", "127.0.0.1", str(port)) if level.replica else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        given = Bench(folder, primary.url, stack.enter_context(primary.admin()), primary.pid)
        settings = {"WAIT_REPLICAS": level.wait_replicas, "WAIT_AOF": level.wait_aof, "REPLICATION_TIMEOUT_S": WAIT_S}
        web = stack.enter_context(gateway(given, **{f"STATE__{name}": value for name, value in settings.items()}))
        service = Service(level, port, primary, replica, web)
        _wait_for_replica(service)
        yield service


def _server(stack: contextlib.ExitStack, port: int, level: Level, *options: str) -> RedisServer:
    server = RedisServer(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))))
    stack.callback(server.kill)
    server.start(*_options(port, level), *options)
    return server


def _options(port: int, level: Level) -> tuple[str, ...]:
    return ("--port", str(port), "--bind", "127.0.0.1", "--auto-aof-rewrite-percentage", "0", *level.options)


def _try_kill(service: Service, load_s: float) -> None:
    """Kill the primary under load and start it again with what it has on disk."""
    acknowledged = _acknowledged(service, "killed", load_s)
    service.primary.start(*_options(service.port, service.level))
    service.killed = _lost(acknowledged, service.primary)


def _try_failover(service: Service, load_s: float) -> None:
    """Cut the replica off, kill the primary under load, promote the replica."""
    replica = service.replica
    if replica is None:
        return
    _wait_for_replica(service)
    os.kill(replica.pid, signal.SIGSTOP)
    try:
        # What had been sent to the replica would wait for it in the kernel; between machines it would be lost.
        with service.primary.admin() as admin:
            admin.execute_command("CLIENT", "KILL", "TYPE", "replica")
        acknowledged = _acknowledged(service, "failed-over", load_s)
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    with replica.admin() as admin:
        admin.replicaof("NO", "ONE")
    service.failed_over = _lost(acknowledged, replica)


def _wait_for_replica(service: Service) -> None:
    if service.replica is not None:
        with service.replica.admin() as admin:
            until(lambda: admin.info("replication")["master_link_status"] == "up", "the replica does not follow")


def _acknowledged(service: Service, prefix: str, load_s: float) -> list[str]:
    """Send events of one user each until the primary is killed, after `load_s`; returns the users acknowledged."""
    killer = threading.Timer(load_s, service.primary.kill)
    killer.start()
    acknowledged = []
    with httpx.Client(base_url=service.web.url, trust_env=False, timeout=30.0) as http:
        for number in count():
            user = f"{prefix}-{number}"
            if http.post("/events", json={"user_id": user, "item_id": "item", "type": "click"}).status_code == 202:
                acknowledged.append(user)
            elif killer.finished.is_set():
                break
    killer.join()
    return acknowledged


def _lost(acknowledged: list[str], server: RedisServer) -> str:
    keys = Keys(StateSettings().buckets)
    with server.admin() as admin:
        there = sum(admin.exists(keys.user(user).pending) for user in acknowledged)
    return f"{len(acknowledged) - there} of {len(acknowledged)} lost"


if __name__ == "__main__":
    run(main)
