"""How many bytes of Redis a user takes, all included.

Users get their recents and their summary through the store's own methods; nothing is left pending. Per key family the
table shows what `MEMORY USAGE` says of a sample of users (value, key, dictionary entry); what `used_memory` has grown
by beyond that is the rest: Redis's hash tables and what its allocator leaves unused. The event log is told
beside it: its bound is a number of events (`event_log_size`), not of users.
"""

import asyncio
import random
from collections import Counter
from functools import partial
from typing import Annotated

import redis
import typer

from service.settings import Settings
from service.settings.state import StateSettings
from service.state.keys import Keys
from service.state.records import Event
from service.state.store import Store
from tests.benchmarks.command import run
from tests.benchmarks.fill import START_MS, fill
from tests.benchmarks.processes import Bench, bench
from tests.benchmarks.tables import Findings, Markdown, bar
from tests.benchmarks.traffic import Events, now_ms, user_id

SAMPLE = 1000


LOGGED = 100_000
NEWEST = (3, 3, 3)
"""The events of the last versions of a summary, folded in blocks as they came; those before in one version."""


def main(
    users: Annotated[int, typer.Option(help="Users to fill Redis with; 1000000 take half an hour.", min=1)] = 100_000,
    events: Annotated[int, typer.Option(help="Events of each user; 220 fill the seen items, too.", min=10)] = 20,
    summary_chars: Annotated[int, typer.Option(help="Characters of each summary.", min=1)] = 400,
    markdown: Markdown = None,
) -> None:
    """Measure the bytes per user."""
    found = Findings("Bytes per user", markdown)
    folds = (events - sum(NEWEST), *NEWEST)
    with bench("--appendonly", "no") as given, bar() as progress:
        # The first user brings what is there once: the scripts.
        fill(given.url, 1, folds=folds, summary_chars=summary_chars)
        given.redis.flushall()
        before = given.redis.info("memory")["used_memory"]
        task = progress.add_task("filling", total=users)
        tick = partial(progress.advance, task)
        fill(given.url, users, folds=folds, summary_chars=summary_chars, tick=tick)
        used = given.redis.info("memory")
        whole = (used["used_memory"] - before) / users
        families = _families(given.redis, users)
        logged = asyncio.run(_logged(given, users))
    found.say(
        f"{users:,} users with {events} events and a summary of {summary_chars} characters; user ids of "
        f"{len(user_id(0))}, item ids of 11, event ids of 32 characters; allocator {used['mem_allocator']}."
    )
    rest = whole - sum(families.values())
    rows = [[name, f"{size:,.0f}"] for name, size in families.items()]
    found.table(["", "bytes per user"], [*rows, ["rest", f"{rest:,.0f}"], ["all", f"{whole:,.0f}"]])
    found.say(f"{whole / 1024:.2f} KiB per user; a million users take {whole * 1e6 / 2**30:.2f} GiB.")
    most = StateSettings().event_log_size
    found.say(
        f"Beside the users, the event log takes {logged:,.0f} bytes an event, {most * logged / 2**20:,.0f} MiB when it "
        f"holds the {most:,} events of its bound."
    )
    found.save()


async def _logged(given: Bench, users: int) -> float:
    """Bytes of the event log per event."""
    store = Store(Settings(redis_url=given.url))
    drawn = Events(users, ids=True)
    for _ in range(LOGGED // 1_000):
        batch = [
            Event(str(e["event_id"]), str(e["user_id"]), str(e["item_id"]), str(e["type"]), START_MS + number)
            for number, e in enumerate(drawn.draw(1_000))
        ]
        await store.events.accept(batch, now_ms())
    count = await store.log.count()
    await store.close()
    return sum(_sizes(given.redis, [bucket.log for bucket in Keys(StateSettings().buckets).users])) / count


def _families(client: redis.Redis, users: int) -> dict[str, float]:
    """Bytes per user and key family: a mean over a sample for the user's own keys, a sum for those of the buckets."""
    keys = Keys(StateSettings().buckets)
    sizes: Counter[str] = Counter()
    sample = random.Random(0).sample(range(users), min(SAMPLE, users))
    names = [(family, key) for number in sample for family, key in _own(keys, user_id(number))]
    for (family, _), size in zip(names, _sizes(client, [key for _, key in names]), strict=True):
        sizes[family] += size
    families = {family: size / len(sample) for family, size in sizes.items() if size}
    shared = [key for key in client.scan_iter(match="ts:{*}:*", count=10_000) if key.count(b":") == 2]
    return families | {"shared by all": sum(_sizes(client, shared)) / users}


def _own(keys: Keys, user: str) -> list[tuple[str, str]]:
    named = vars(keys.user(user)).items()
    return [(family, key) for family, key in named if key.endswith(user)]


def _sizes(client: redis.Redis, keys: list[str] | list[bytes]) -> list[int]:
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.memory_usage(key, samples=0)
    return [size or 0 for size in pipeline.execute()]


if __name__ == "__main__":
    run(main)
