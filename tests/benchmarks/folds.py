"""How many users a second a worker folds, beside what the model server can do.

The server is a real vLLM with the demo's summarizer. The ceiling is a bare client that sends it the same kind of
prompts (an old summary and a block of three events of the demo world) and drops the answers; the worker claims users
with such a block, reads their items, asks, and commits. Both have the same concurrency and take turns. The rate is that
between the first and the last full round of answers, so that neither's start nor its last stragglers count.
"""

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import httpx
import typer

from model_store.engine.chat import text_request
from model_store.errors import UserError
from model_store.serving.launch import free_port
from service.settings import Settings
from service.state.store import Store
from tests.benchmarks.command import run
from tests.benchmarks.machine import cpu_s
from tests.benchmarks.processes import Bench, bench, worker
from tests.benchmarks.tables import Findings, Markdown, bar, ranged
from tests.benchmarks.traffic import now_ms, post, send_timed
from tests.benchmarks.vllm import Person, Served, World, summarizer

BLOCK = 3
LEVELS = [1, 2, 4, 8, 16, 32, 64]
_FOLD_S = 300.0


@dataclass(frozen=True)
class Folded:
    """Folds per second, and the ms of each: CPU of the worker and of Redis, the model's answer, claim to commit."""

    rate: float
    worker_ms: float
    redis_ms: float
    asked_ms: float
    fold_ms: float


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of each concurrency, in turns.", min=1)] = 2,
    levels: Annotated[list[int], typer.Option("--concurrency", help="May be repeated.", min=1, max=64)] = LEVELS,
    users: Annotated[int, typer.Option(help="Users of a round; at high concurrency ten times that.", min=20)] = 100,
    markdown: Markdown = None,
) -> None:
    """Measure the fold throughput of a worker against that of its model server."""
    found = Findings("Fold throughput", markdown)
    world = World()
    with tempfile.TemporaryDirectory() as folder, bar() as progress, summarizer(Path(folder), progress) as served:
        task = progress.add_task("folding", total=rounds * len(levels))
        send_timed(served.url, _prompts(served, world, world.people(20, 4 * BLOCK, seed=99)), 4)
        rows, slots = [], []
        for level in levels:
            bare, asked, ours = [], [], []
            for turn in range(rounds):
                count = max(users, 10 * level)
                people = world.people(2 * count, 4 * BLOCK, seed=100 * level + turn)
                moments, latencies = send_timed(served.url, _prompts(served, world, people[:count]), level)
                bare.append(_steady(moments, level))
                asked.append(1000 * fmean(latencies))
                with bench() as given:
                    ours.append(fold_rate(given, served, world, people[count:], level))
                progress.advance(task)
            rows.append(_row(level, bare, ours))
            slots.append(_slot(level, asked, ours))
    found.say(f"{rounds} rounds each, in turns; load {os.getloadavg()[0]:.1f} at the end.")
    columns = ["concurrency", "ceiling folds/s", "worker folds/s", "ratio", "worker CPU ms/fold", "Redis CPU ms/fold"]
    found.table(columns, rows)
    found.say("Milliseconds per fold: the model's answer, the time that one of the calls is not in use, the whole")
    found.table(["concurrency", "ceiling: answer", "worker: answer", "not in use", "claim to commit"], slots)
    found.save()


def _row(level: int, bare: list[float], ours: list[Folded]) -> list[str]:
    return [
        f"{level}",
        ranged(bare, 1),
        ranged([one.rate for one in ours], 1),
        ranged([one.rate / other for one, other in zip(ours, bare, strict=True)], 2),
        f"{median(one.worker_ms for one in ours):.1f}",
        f"{median(one.redis_ms for one in ours):.1f}",
    ]


def _slot(level: int, asked: list[float], ours: list[Folded]) -> list[str]:
    return [
        f"{level}",
        f"{median(asked):.1f}",
        f"{median(one.asked_ms for one in ours):.1f}",
        f"{median(1000 * level / one.rate - one.asked_ms for one in ours):.1f}",
        f"{median(one.fold_ms for one in ours):.1f}",
    ]


def _prompts(served: Served, world: World, people: list[Person]) -> list[bytes]:
    serving = served.manifest.serving
    bodies = []
    for person in people:
        text = served.prompts.summarize(world.rule_summary(person.events[:-BLOCK]), world.shown(person.events[-BLOCK:]))
        request = text_request(text, serving.max_summary_tokens, 0, serving.presence_penalty)
        bodies.append(post("/v1/chat/completions", {"model": served.manifest.id, **request}).sent)
    return bodies


def fold_rate(given: Bench, served: Served, world: World, people: list[Person], concurrency: int) -> Folded:
    """Fold a block of each of `people` with a worker of its own."""
    asyncio.run(_prepare(given, world, people))
    redis_before = cpu_s(given.redis_pid)
    port = free_port()
    with worker(
        given, WORKER__MAX_CONCURRENT_SUMMARIES=concurrency, WORKER__METRICS_PORT=port, **served.environment
    ) as pid:
        before = started(given, pid)
        moments = asyncio.run(_commits(given, [person.user_id for person in people]))
        used = cpu_s(pid) - before
        asked, folding = (_mean_ms(port, name) for name in ("engine_call_seconds", "job_seconds"))
    folds = len(people)
    redis = cpu_s(given.redis_pid) - redis_before
    return Folded(_steady(moments, concurrency), 1000 * used / folds, 1000 * redis / folds, asked, folding)


def _mean_ms(port: int, name: str) -> float:
    """The mean of a histogram of the worker."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    values = {
        end: sum(
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"tastestream_{name}_{end}")
        )
        for end in ("sum", "count")
    }
    return 1000 * values["sum"] / values["count"]


async def _prepare(given: Bench, world: World, people: list[Person]) -> None:
    """Every user has a summary and one full block pending."""
    store = Store(Settings(redis_url=given.url))
    await store.items.put_many(list(world.items.values()))
    by_user = {person.user_id: person for person in people}
    for part in (slice(-2 * BLOCK, -BLOCK), slice(-BLOCK, None)):
        await store.events.accept([event for person in people for event in person.events[part]], now_ms())
        if part.stop is None:
            break
        while claims := await store.summaries.claim(len(people)):
            for claim in claims:
                summary = world.rule_summary(by_user[claim.key].events[:-BLOCK])
                await store.summaries.commit(claim, summary, "rule", "rule", len(claim.pending))
    await store.close()


def started(given: Bench, pid: int) -> float:
    """The worker's CPU seconds when it began to work."""
    log = given.folder / "worker.log"
    deadline = time.monotonic() + 60
    while "working" not in log.read_text():
        if time.monotonic() > deadline:
            raise UserError(f"the worker does not start; see {log}")
        time.sleep(0.01)
    return cpu_s(pid)


async def _commits(given: Bench, users: list[str]) -> list[float]:
    """When each user's fold was committed, in seconds, earliest first."""
    store = Store(Settings(redis_url=given.url))
    deadline = time.monotonic() + _FOLD_S
    try:
        while True:
            if not (await store.summaries.due())[0]:
                states = [await store.users.read(user) for user in users]
                if not any(state.pending for state in states):
                    return sorted(state.summary.updated_at_ms / 1000 for state in states if state.summary)
            if time.monotonic() > deadline:
                raise UserError(f"the worker did not fold {len(users)} users within {_FOLD_S:.0f} s")
            await asyncio.sleep(0.2)
    finally:
        await store.close()


def _steady(moments: list[float], concurrency: int) -> float:
    """Answers per second, the first and the last `concurrency` of them left out."""
    first, last = concurrency, len(moments) - concurrency
    return (last - first) / (moments[last - 1] - moments[first - 1])


if __name__ == "__main__":
    run(main)
