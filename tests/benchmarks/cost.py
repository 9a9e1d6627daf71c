"""What an accepted event costs Redis: round trips, commands, bytes over the wire, bytes in the append-only file.

The gateway runs in this process, so that its sends can be counted: one is one round trip. Commands (those inside
scripts too), bytes in and out are the differences of Redis's own counters. Users have full recents, as they do after a
while; nothing is folded meanwhile.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

import redis
import typer
from redis.asyncio.connection import AbstractConnection

from service.app import create_app
from service.settings import Settings
from tests.benchmarks.command import run
from tests.benchmarks.fill import fill
from tests.benchmarks.processes import Bench, bench
from tests.benchmarks.tables import Findings, Markdown, bar
from tests.benchmarks.traffic import Events, exchange, requests
from tests.service.serving import serving

SHAPES = ((1, 1), (1, 32), (10, 1), (100, 1), (1000, 1))
"""Events in a request, connections."""


@dataclass(frozen=True)
class Counts:
    """Redis's counters and the gateway's sends."""

    sends: int
    commands: int
    scripts: int
    received: int
    sent: int
    logged: int

    def per(self, events: int, before: "Counts") -> list[str]:
        mine = (self.sends, self.scripts, self.commands, self.received, self.sent, self.logged)
        then = (before.sends, before.scripts, before.commands, before.received, before.sent, before.logged)
        digits = (3, 3, 2, 0, 0, 0)
        return [f"{(new - old) / events:.{places}f}" for new, old, places in zip(mine, then, digits, strict=True)]


class Sends:
    """Counts what redis-py writes to its sockets while it is entered; a pipeline is one send."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "Sends":
        self._original = AbstractConnection.send_packed_command

        async def counting(connection: AbstractConnection, *arguments: Any, **options: Any) -> None:
            self.count += 1
            await self._original(connection, *arguments, **options)

        AbstractConnection.send_packed_command = counting  # type: ignore[method-assign,assignment]
        return self

    def __exit__(self, *_: object) -> None:
        AbstractConnection.send_packed_command = self._original  # type: ignore[method-assign]


def main(
    events: Annotated[int, typer.Option(help="Events sent in each shape.", min=1_000)] = 10_000,
    users: Annotated[int, typer.Option(help="Users whose events are drawn.", min=1)] = 1_000,
    markdown: Markdown = None,
) -> None:
    """Measure the cost of an event in Redis."""
    found = Findings("Cost of an event in Redis", markdown)
    with bench() as given, Sends() as sends, bar() as progress:
        filling = progress.add_task("filling", total=users)
        fill(given.url, users, tick=lambda done: progress.advance(filling, done))
        task = progress.add_task("sending", total=len(SHAPES))
        rows = asyncio.run(_measure(given, sends, Events(users), events, lambda: progress.advance(task)))
    found.say(f"{users:,} users with 20 recents, {events:,} events in each shape; all figures per event.")
    columns = ["", "round trips", "scripts", "commands", "bytes in", "bytes out", "AOF bytes"]
    found.table(columns, rows)
    found.save()


async def _measure(given: Bench, sends: Sends, drawn: Events, events: int, tick: Any) -> list[list[str]]:
    rows = []
    settings = Settings(redis_url=given.url, data_dir=given.folder)
    async with serving(create_app(settings)) as url:
        port = int(url.rpartition(":")[2])
        await exchange(port, requests(drawn.draw(1_000), 1), 32)
        for batch, connections in SHAPES:
            sent = requests(drawn.draw(events), batch)
            before = _counts(given.redis, sends)
            await exchange(port, sent, connections)
            name = f"batches of {batch:,}" if batch > 1 else f"singly, {connections} connection{'s'[: connections - 1]}"
            rows.append([name, *_counts(given.redis, sends).per(events, before)])
            tick()
    return rows


def _counts(client: redis.Redis, sends: Sends) -> Counts:
    stats, commands, persistence = (client.info(section) for section in ("stats", "commandstats", "persistence"))
    calls = {name.removeprefix("cmdstat_"): numbers["calls"] for name, numbers in commands.items()}
    return Counts(
        sends=sends.count,
        commands=sum(calls.values()) - calls.get("info", 0),
        scripts=calls.get("evalsha", 0) + calls.get("eval", 0),
        received=stats["total_net_input_bytes"],
        sent=stats["total_net_output_bytes"],
        logged=persistence["aof_current_size"],
    )


if __name__ == "__main__":
    run(main)
