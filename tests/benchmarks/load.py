"""What callers see under more load than the service can carry, and when a part of it breaks.

A real Redis, gateway, worker and two real vLLM servers with the demo's models. The ranker has half of the processors
for itself, as it has a machine of its own in production; otherwise the tables would show how the kernel shares them.

First the capacity is measured: callers that wait for their answers, more and more of them, until the recommendations
that the model ranks in time become no more. Then requests arrive at random (Poisson) at multiples of it, whatever
becomes of the earlier ones: single events and batches, recommendations with and without candidates, changes of items.
Latencies count from the time at which a request was due.

Faults then happen under half of the capacity: the ranker stops or is killed, the summarizer is slow, Redis stops or is
restarted, all workers are gone, the disk of the pictures is full.

Every acknowledged event is looked up at the end. The command fails if a claim does not hold.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from model_store.demo import MODELS
from model_store.errors import UserError
from model_store.registry.registry import Registry
from model_store.serving.launch import VllmServer
from tests.benchmarks.command import run
from tests.benchmarks.load_claims import FAULT_COLUMNS, LEVEL_COLUMNS, Claims, Level, check_levels, goodput
from tests.benchmarks.load_faults import Trial, faults
from tests.benchmarks.load_rig import (
    HISTORY,
    PausableVllm,
    Rig,
    fill,
    freshness_of,
    on_processors,
    running_rig,
    shared_out,
    small_disk,
)
from tests.benchmarks.load_traffic import (
    RECOMMENDING,
    SHARES,
    Caller,
    Mix,
    at_rate,
    calling,
    in_turns,
    of,
    until_true,
)
from tests.benchmarks.tables import Findings, Markdown, bar
from tests.benchmarks.vllm import World

USERS, ITEMS, CANDIDATES = 1000, 200, 20
DEADLINE_MS = 2000
FAULT_SHARE = 0.5
_CLIENTS = (2, 4, 8, 16, 32, 64)
_NO_MORE = 1.05
"""More callers must rank this much more, or the capacity is found."""
_DRAIN_S = 300.0


@dataclass(frozen=True)
class Plan:
    levels: Sequence[float]
    seconds: float
    fault_seconds: float
    with_faults: bool


def main(
    levels: Annotated[str, typer.Option(help="Multiples of the capacity, separated by commas.")] = "0.5,1,2,5",
    seconds: Annotated[float, typer.Option(help="Duration of each level.", min=1)] = 30.0,
    fault_seconds: Annotated[float, typer.Option(help="Duration of each fault.", min=1)] = 10.0,
    with_faults: Annotated[bool, typer.Option("--faults/--no-faults", help="Also cause faults.")] = True,
    markdown: Markdown = None,
) -> None:
    """Measure overload and faults."""
    try:
        plan = Plan([float(level) for level in levels.split(",")], seconds, fault_seconds, with_faults)
    except ValueError:
        raise UserError(f"--levels are numbers separated by commas, not {levels}") from None
    found, claims = Findings("Load", markdown), Claims()
    with tempfile.TemporaryDirectory(prefix="load-") as name, bar() as progress, asyncio.Runner() as runner:
        runner.run(_measure(Path(name), plan, found, claims, progress))
    for line in claims.lines():
        found.say(f"- {line}")
    found.save()
    claims.require()


async def _measure(folder: Path, plan: Plan, found: Findings, claims: Claims, progress: Progress) -> None:
    world = World(ITEMS)
    people = world.people(USERS, HISTORY)
    async with _real_rig(folder, progress) as rig:
        await fill(rig, world, people)
        titles = {item.item_id: item.title for item in world.items.values()}
        users = [person.user_id for person in people]
        mixes = (
            Mix(users, titles, f"run{number}", candidates=CANDIDATES, deadline_ms=DEADLINE_MS) for number in range(1000)
        )
        async with calling(rig.gateway.url) as caller:
            rate, ranked = await capacity(caller, next(mixes), plan.seconds / 3, progress)
            found.say(
                f"{USERS} users, {ITEMS} items with pictures, {CANDIDATES} candidates, a deadline of {DEADLINE_MS} ms. "
                f"Capacity: {rate:.1f} requests/s, of which the model ranks {ranked:.1f} in time. "
                f"{_place()}"
            )
            rows = await measure_levels(rig, caller, next(mixes), rate, plan, claims, progress)
            found.table(LEVEL_COLUMNS, rows)
            if plan.with_faults:
                found.say(f"Faults of {plan.fault_seconds:.0f} s, under {FAULT_SHARE:g} x capacity:")
                found.table(FAULT_COLUMNS, await cause_faults(rig, caller, next(mixes), rate, plan, claims, progress))
                if rig.pictures is None:
                    found.say("Not tried: a full disk, since this user may not mount a small one.")
            lost = await rig.lost(caller.accepted)
            claims.check(not lost, f"of {len(caller.accepted):,} acknowledged events {len(lost)} are lost")
    found.say(f"Load {os.getloadavg()[0]:.1f} at the end.")


def _place() -> str:
    rankers, others = shared_out()
    if rankers == others:
        return "All share one processor."
    return f"The ranker has {len(rankers)} processor(s), everything else shares {len(others)}."


async def capacity(caller: Caller, mix: Mix, seconds: float, progress: Progress) -> tuple[float, float]:
    """Requests a second at which the ranker is just full, and how many of them it ranks in time."""
    best = 0.0
    task = progress.add_task("measuring the capacity", total=len(_CLIENTS))
    for clients in _CLIENTS:
        began = time.monotonic()
        asked = of(await in_turns(caller, mix, clients, seconds), RECOMMENDING)
        ranked = goodput(asked, DEADLINE_MS) / (time.monotonic() - began)
        progress.advance(task)
        if ranked < _NO_MORE * best:
            break
        best = ranked
    progress.remove_task(task)
    if best == 0:
        raise UserError(f"the model ranked nothing within {DEADLINE_MS} ms: this machine is too slow or too busy")
    return best / sum(SHARES[kind] for kind in RECOMMENDING), best


async def measure_levels(
    rig: Rig, caller: Caller, mix: Mix, rate: float, plan: Plan, claims: Claims, progress: Progress
) -> list[list[str]]:
    """All levels; between them, the workers fold what is left."""
    task = progress.add_task("levels", total=plan.seconds * len(plan.levels))
    measured: list[Level] = []
    for level in plan.levels:
        progress.update(task, description=f"{level:g} x capacity")
        before = await freshness_of(rig)
        outcomes = await at_rate(caller, mix, level * rate, plan.seconds, lambda done: progress.advance(task, done))
        drained = await until_true(rig.drained, _DRAIN_S)
        after = await freshness_of(rig)
        fresh = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
        measured.append(Level(level, plan.seconds, outcomes, fresh, drained, rig.resident_mib()))
    progress.remove_task(task)
    check_levels(claims, measured, DEADLINE_MS)
    return [level.row(DEADLINE_MS) for level in measured]


async def cause_faults(
    rig: Rig, caller: Caller, mix: Mix, rate: float, plan: Plan, claims: Claims, progress: Progress
) -> list[list[str]]:
    """One fault after the other."""
    tried = faults(rig)
    task = progress.add_task("faults", total=len(tried) * (1.5 * plan.fault_seconds + 15))
    tick = lambda done: progress.advance(task, done)  # noqa: E731
    trial = Trial(rig, caller, mix, FAULT_SHARE * rate, plan.fault_seconds, DEADLINE_MS, claims, tick)
    rows = []
    for fault in tried:
        progress.update(task, description=fault.name)
        rows.append(await trial.run(fault))
    progress.remove_task(task)
    return rows


@asynccontextmanager
async def _real_rig(folder: Path, progress: Progress) -> AsyncIterator[Rig]:
    registry = Registry(MODELS)
    environment = {"TASTESTREAM_MODEL_STORE": str(MODELS), "TASTESTREAM_RECOMMEND__RETRIEVE": str(CANDIDATES)}
    rankers, others = shared_out()
    async with AsyncExitStack() as stack:
        stack.enter_context(on_processors(others))
        servers: dict[str, VllmServer] = {}
        for role in ("ranker", "summarizer"):
            manifest = registry.get(f"demo-{role}")
            weights, prompts = registry.local_folder(manifest), registry.templates(manifest)
            background = role == "summarizer"
            servers[role] = VllmServer(manifest, weights, prompts, folder / f"{role}.log", background=background)
            stack.push_async_callback(servers[role].stop)
            with on_processors(rankers if role == "ranker" else others):
                await servers[role].start()
            environment |= {
                f"TASTESTREAM_{role.upper()}__URL": servers[role].url,
                f"TASTESTREAM_{role.upper()}__VERSION": manifest.id,
            }
        task = progress.add_task("starting vLLM", total=90)
        for server in servers.values():
            await server.wait_healthy(lambda elapsed, _: progress.update(task, completed=elapsed))
        progress.remove_task(task)
        pictures = stack.enter_context(small_disk(folder / "pictures"))
        ranker, summarizer = PausableVllm(servers["ranker"], rankers), PausableVllm(servers["summarizer"], others)
        yield await stack.enter_async_context(running_rig(folder, environment, ranker, summarizer, pictures))


if __name__ == "__main__":
    run(main)
