"""How large a block may be when many events of a user are pending.

Users of the demo world whom its model has not seen come with a backlog. Their events are folded by the real model on a
real vLLM, cut into blocks as the worker cuts them for one setting of `catch_up_block` after the other, and beside it in
other ways. The world knows what each user likes at the end: the table shows how much of what the summary states is
right (precision), how much of what is right it states (recall), F1 with its difference to blocks of 3 (paired, with a
95 % interval over users), and the share of stated likes that it has in common with the summary made by blocks of 3.
Calls are those of one user; *cut* is the share of prompts that lost words to fit the model's length.

`3` to `48` are the worker's cuts for that `catch_up_block`: four blocks or more, of three events or more.
*No fewer* drops that floor. *3, shifted* begins with a block of one event: it shows how far two ways differ that are as
good as each other. *48, newest 24 by 3* folds the old part in large blocks and the end in small ones; *only the newest*
forgets the rest. Some of the ways are only tried on short backlogs, others only on long ones.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import typer

from model_store.blocks import blocks
from model_store.demo.truth import Stated, stated
from model_store.engine import fitting
from model_store.engine.engine import Engine
from model_store.engine.errors import EngineError
from model_store.errors import UserError
from model_store.evaluate.metrics import confidence
from model_store.msr.teacher import parse
from model_store.views import InteractionView
from service.settings.state import StateSettings
from tests.benchmarks.command import run
from tests.benchmarks.tables import Findings, Markdown, bar
from tests.benchmarks.vllm import Person, Served, World, summarizer
from workers.model_calls import server_failed

SMALL = 3
MANY = 100
"""Events of a backlog that is too long for the ways that only matter when few calls are made anyway."""
LARGEST = (SMALL, 6, 12, 24, 48)
CONCURRENCY = 32


@dataclass(frozen=True)
class Way:
    """One way to fold a backlog: the lengths of its blocks, after `skipped` events that are left out."""

    name: str
    lengths: list[int]
    skipped: int = 0


@dataclass
class Tally:
    """What the folding of all users by one way met with."""

    calls: int = 0
    refused: int = 0
    buried: int = 0
    cut: int = 0
    seconds: float = 0.0


def main(
    users: Annotated[int, typer.Option(help="Users of each backlog.", min=2)] = 20,
    backlogs: Annotated[list[int], typer.Option("--backlog", help="Pending events; may be repeated.")] = [30, 300],  # noqa: B006
    markdown: Markdown = None,
) -> None:
    """Measure what larger catch-up blocks cost in quality and save in calls."""
    found = Findings("The catch-up block", markdown)
    world = World()
    with tempfile.TemporaryDirectory() as folder, bar() as progress, summarizer(Path(folder), progress) as served:
        for backlog in backlogs:
            people, plans = world.people(users, backlog), ways(backlog, StateSettings())
            total = users * sum(len(way.lengths) for way in plans)
            task = progress.add_task(f"{backlog} events", total=total)
            told = asyncio.run(_measure(served, world, people, plans, partial(progress.advance, task, 1)))
            found.say(f"{users} users with {backlog} pending events each; load {os.getloadavg()[0]:.1f} at the end.")
            found.table(COLUMNS, _rows(people, plans, told))
    found.save()


def ways(backlog: int, state: StateSettings) -> list[Way]:
    """The worker's own ways, and those beside it."""
    own = [Way(f"{largest}", planned(backlog, largest, state)) for largest in LARGEST]
    shifted = Way("3, shifted", [1, *planned(backlog - 1, SMALL, state)])
    newest = [size for size in (12, 24, 48) if size < backlog]
    alone = [Way(f"only the newest {size}, by 3", _even(size, SMALL), backlog - size) for size in newest]
    if backlog <= MANY:
        even = [Way(f"{largest}, no fewer", _even(backlog, largest)) for largest in (12, 24, 48)]
        shifted = Way("3, shifted", [1, *planned(backlog - 1, SMALL, state)])
        return [*own, *even, shifted, *alone]
    mixed = [
        Way(f"{large}, newest {size} by 3", _even(backlog - size, large) + _even(size, SMALL))
        for large in (12, 48)
        for size in newest[:2]
    ]
    return [*own, *mixed, *alone]


def planned(backlog: int, largest: int, state: StateSettings) -> list[int]:
    """The blocks of a backlog that nothing is added to, claim by claim."""
    lengths: list[int] = []
    while (left := backlog - sum(lengths)) > 0:
        claimed = min(left, state.claim_blocks * largest)
        lengths += blocks(claimed, state.block_size, largest, state.claim_blocks)
    return lengths


def _even(events: int, largest: int) -> list[int]:
    return blocks(events, largest, largest, events)


async def _measure(
    served: Served, world: World, people: list[Person], plans: list[Way], tick: Callable[[], None]
) -> list[tuple[list[str], Tally]]:
    engine = served.engine(timeout_s=120.0)
    slots = asyncio.Semaphore(CONCURRENCY)
    told = []
    try:
        for way in plans:
            tally = Tally()

            async def one(person: Person, way: Way = way, tally: Tally = tally) -> str:
                async with slots:
                    return await _fold(served, engine, world.shown(person.events), way, tally, tick)

            started = time.perf_counter()
            texts = await asyncio.gather(*map(one, people))
            tally.seconds = time.perf_counter() - started
            told.append((texts, tally))
    finally:
        await engine.close()
    return told


async def _fold(
    served: Served,
    engine: Engine,
    events: Sequence[InteractionView],
    way: Way,
    tally: Tally,
    tick: Callable[[], None],
) -> str:
    """As the worker does it; a block that is refused is folded by 3, a second refusal leaves it out."""
    text, at = "", way.skipped
    for length in way.lengths:
        block = events[at : at + length]
        at += length
        try:
            text = await _step(served, engine, text, block, 0, tally)
        except EngineError as error:
            if await server_failed(engine, error):
                raise UserError(f"the model server failed: {error}") from error
            tally.refused += 1
            for start in range(0, length, SMALL):
                try:
                    text = await _step(served, engine, text, block[start : start + SMALL], 1, tally)
                except EngineError:
                    tally.buried += len(block[start : start + SMALL])
        tick()
    return text


async def _step(
    served: Served, engine: Engine, text: str, block: Sequence[InteractionView], attempt: int, tally: Tally
) -> str:
    serving = served.manifest.serving
    room = fitting.limits(serving, served.manifest.picture, serving.max_summary_tokens)[0]
    tally.cut += len(served.prompts.summarize(text, block).encode()) > room
    tally.calls += 1
    return await engine.summarize(text, block, attempt=attempt)


COLUMNS = (
    "blocks of at most",
    "calls",
    "precision",
    "recall",
    "F1",
    "F1 - F1 of 3",
    "as by 3",
    "cut",
    "refused",
    "left out",
    "s/user",
)


def _rows(people: list[Person], plans: list[Way], told: list[tuple[list[str], Tally]]) -> list[list[str]]:
    base = told[0][0]
    base_f1 = _f1([stated(text, person.taste) for text, person in zip(base, people, strict=True)])
    rows = []
    for way, (texts, tally) in zip(plans, told, strict=True):
        said = [stated(text, person.taste) for text, person in zip(texts, people, strict=True)]
        f1 = _f1(said)
        gap = confidence(f1 - base_f1)
        common = fmean(_common(text, other) for text, other in zip(texts, base, strict=True))
        rows.append(
            [
                way.name,
                f"{tally.calls / len(people):.1f}",
                f"{100 * fmean(one.precision for one in said):.1f}",
                f"{100 * fmean(one.recall for one in said):.1f}",
                f"{100 * f1.mean():.1f}",
                f"{100 * gap.mean:+.1f} ({100 * gap.low:+.1f} .. {100 * gap.high:+.1f})",
                f"{100 * common:.0f} %",
                f"{100 * tally.cut / tally.calls:.0f} %",
                f"{tally.refused}",
                f"{tally.buried}",
                f"{tally.seconds / len(people):.2f}",
            ]
        )
    return rows


def _f1(said: list[Stated]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.array(
        [2 * one.precision * one.recall / (one.precision + one.recall) if one.precision else 0.0 for one in said]
    )


def _common(text: str, other: str) -> float:
    """Jaccard's index of the stated likes."""
    mine, theirs = set(parse(text).likes), set(parse(other).likes)
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0


if __name__ == "__main__":
    run(main)
