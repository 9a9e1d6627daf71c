"""How many bytes of Redis a user takes, all included.

Users get their recents and their summary through the store's own methods; nothing is left pending. Per key family the
table shows what `MEMORY USAGE` says of a sample of users (value, key, dictionary entry); what `used_memory` has grown
by beyond that is the rest: Redis's hash tables and what its allocator leaves unused.
"""

import dataclasses
import random
from collections import Counter
from typing import Annotated

import redis
import typer

from service.settings import StateSettings
from service.state.keys import Keys
from tests.benchmarks.command import run
from tests.benchmarks.fill import fill
from tests.benchmarks.processes import bench
from tests.benchmarks.tables import Findings, Markdown, bar
from tests.benchmarks.traffic import user_id

SAMPLE = 1000


def main(
    users: Annotated[
        int, typer.Option(help="Users to fill Redis with; 1000000 takes about ten minutes.", min=1)
    ] = 100_000,
    recents: Annotated[int, typer.Option(help="Events of each user.", min=1)] = 20,
    summary_chars: Annotated[int, typer.Option(help="Characters of each summary.", min=1)] = 400,
    markdown: Markdown = None,
) -> None:
    """Measure the bytes per user."""
    found = Findings("Bytes per user", markdown)
    with bench("--appendonly", "no") as given, bar() as progress:
        # The first user brings what is there once: scripts, and the queues of its bucket.
        fill(given.url, 1, recents=recents, summary_chars=summary_chars)
        given.redis.flushall()
        before = given.redis.info("memory")["used_memory"]
        task = progress.add_task("filling", total=users)
        fill(
            given.url,
            users,
            recents=recents,
            summary_chars=summary_chars,
            tick=lambda done: progress.advance(task, done),
        )
        used = given.redis.info("memory")
        whole = (used["used_memory"] - before) / users
        families = _families(given.redis, users)
    found.say(
        f"{users:,} users with {recents} events and a summary of {summary_chars} characters; user ids of "
        f"{len(user_id(0))}, item ids of 11 characters; allocator {used['mem_allocator']}."
    )
    rest = whole - sum(families.values())
    rows = [[name, f"{size:,.0f}"] for name, size in families.items()]
    found.table(["", "bytes per user"], [*rows, ["rest", f"{rest:,.0f}"], ["**all**", f"**{whole:,.0f}**"]])
    found.say(f"{whole / 1024:.2f} KiB per user; a million users take {whole * 1e6 / 2**30:.2f} GiB.")


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
    named = dataclasses.asdict(keys.user(user)).items()
    return [(family, key) for family, key in named if key.endswith(user)]


def _sizes(client: redis.Redis, keys: list[str] | list[bytes]) -> list[int]:
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.memory_usage(key, samples=0)
    return [size or 0 for size in pipeline.execute()]


if __name__ == "__main__":
    run(main)
