"""What `/recommend` costs beside the model itself, and beside other ways to ask it.

Every request is of another user with a summary and recents, and has 50 candidates with pictures whose scores are in no
cache. `/recommend` asks the gateway, which asks a real vLLM. `raw /score` sends that vLLM the bodies that the gateway
sends, for other users. Both take turns, and who begins changes; ratios are those of neighbouring rounds.
`chat` asks a generating vLLM with the same weights for one token a candidate, all candidates of a request at once.
`transformers` is the way of the paper's released code: one candidate at a time, the picture first and then the words,
30 tokens generated; more requests in flight would wait for each other.

Own ms is the gateway's time per request outside the call to the model, and without waiting for one of
`recommend.max_concurrent_ranks`; CPU ms is its processor time. Prefix hits are the share of prompt tokens that vLLM
found in its prefix cache.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.progress import Progress

from model_store.errors import UserError
from tests.benchmarks.command import run
from tests.benchmarks.processes import bench, gateway
from tests.benchmarks.ranking_models import Ranked, open_model
from tests.benchmarks.ranking_requests import EVENTS, Body, Traffic
from tests.benchmarks.ranking_ways import Chat, Paper, Raw, Round, Service
from tests.benchmarks.tables import Findings, Markdown, bar, percentile
from tests.benchmarks.vllm import Person, World, running

WAYS = ("service", "raw", "chat", "transformers")
NAMES = {"service": "/recommend", "raw": "raw /score", "chat": "chat", "transformers": "transformers"}
COLUMNS = (
    "way",
    "in flight",
    "candidates/s",
    "of raw /score",
    "p50 ms",
    "p95 ms",
    "own ms",
    "CPU ms",
    "prefix hits",
)


@dataclass(frozen=True)
class Plan:
    """How much is asked. Of the slower ways a request for each that is in flight has to do."""

    requests: int
    rounds: int
    in_flight: Sequence[int]
    ways: Sequence[str]

    def count(self, in_flight: int) -> int:
        """Requests of a round."""
        return max(self.requests, in_flight)

    @property
    def users(self) -> int:
        """Users of the gateway, or of the model server, in all rounds."""
        return self.rounds * sum(map(self.count, self.in_flight))


@dataclass
class Found:
    """The rounds of each way and number in flight."""

    rounds: dict[tuple[str, int], list[Round]] = field(default_factory=dict)

    def add(self, way: str, in_flight: int, found: Round) -> None:
        self.rounds.setdefault((way, in_flight), []).append(found)

    def rows(self) -> list[list[str]]:
        ordered = sorted(self.rounds, key=lambda key: (WAYS.index(key[0]), key[1]))
        return [self._row(way, in_flight, self.rounds[way, in_flight]) for way, in_flight in ordered]

    def _row(self, way: str, in_flight: int, rounds: list[Round]) -> list[str]:
        latencies = [latency for one in rounds for latency in one.latencies_ms]
        return [
            NAMES[way],
            f"{in_flight}",
            f"{median(one.rate for one in rounds):.1f}",
            self._ratio(in_flight, rounds),
            *(f"{percentile(latencies, percent):.0f}" for percent in (50, 95)),
            _middle([one.own_ms for one in rounds], "{:.1f}"),
            _middle([one.cpu_ms for one in rounds], "{:.1f}"),
            _middle([one.hits for one in rounds], "{:.0%}"),
        ]

    def _ratio(self, in_flight: int, rounds: list[Round]) -> str:
        raw = self.rounds.get(("raw", in_flight))
        if raw is None:
            return "-"
        if len(raw) != len(rounds):
            return f"{median(one.rate for one in rounds) / median(one.rate for one in raw):.2f}"
        ratios = [one.rate / beside.rate for one, beside in zip(rounds, raw, strict=True)]
        return f"{median(ratios):.2f}" + (f" ({min(ratios):.2f} .. {max(ratios):.2f})" if len(ratios) > 1 else "")


def _middle(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return form.format(median(known)) if known else "-"


def main(
    model: Annotated[str, typer.Option(help="demo, 70m, or the folder of a ranker's version.")] = "demo",
    requests: Annotated[int, typer.Option(help="Requests of a round; at least as many as in flight.", min=1)] = 32,
    rounds: Annotated[int, typer.Option(help="Rounds of each, in turns.", min=1)] = 3,
    in_flight: Annotated[str, typer.Option(help="Requests at the same time, separated by commas.")] = "1,4,16",
    candidates: Annotated[int, typer.Option(help="Candidates of a request.", min=1, max=500)] = 50,
    ways: Annotated[str, typer.Option(help="Ways, separated by commas.")] = ",".join(WAYS),
    items: Annotated[int, typer.Option(help="Items of the catalogue.", min=50)] = 600,
    markdown: Markdown = None,
) -> None:
    """Measure `/recommend` against the model alone and against other ways."""
    chosen = [way.strip() for way in ways.split(",")]
    if unknown := set(chosen) - set(WAYS):
        raise UserError(f"no such way: {', '.join(unknown)}; there are {', '.join(WAYS)}")
    if items < candidates + EVENTS:
        raise UserError(f"{items} items are too few: a user has seen {EVENTS}, and is asked about {candidates} others")
    plan = Plan(requests, rounds, [int(level) for level in in_flight.split(",")], chosen)
    found = Findings("Recommend", markdown)
    with tempfile.TemporaryDirectory(prefix="ranked-") as name, bar() as progress:
        ranked = open_model(model, Path(name))
        measured = measure(ranked, World(items), candidates, plan, progress)
        found.say(
            f"{ranked}; {candidates} candidates a request of {items} items; {rounds} rounds of at least {requests} "
            f"requests; load {os.getloadavg()[0]:.1f} at the end."
        )
        found.table(COLUMNS, measured.rows())
    found.save()


def measure(model: Ranked, world: World, candidates: int, plan: Plan, progress: Progress) -> Found:
    """All rounds of all ways."""
    found = Found()
    warming = -(-len(world.items) // candidates)
    with bench() as given:
        traffic = Traffic(given, model, world, candidates)
        people = world.people(2 * (plan.users + warming), EVENTS)
        asking, asked = people[: len(people) // 2], people[len(people) // 2 :]
        with asyncio.Runner() as runner:
            runner.run(traffic.prepare(people))
            bodies = runner.run(traffic.bodies(asked))
        if {"service", "raw"} & set(plan.ways):
            with running(model.manifest, model.weights, model.prompts, given.folder, progress) as url:
                compare(traffic, asking, bodies, url, plan, found, progress)
        if "chat" in plan.ways:
            with running(model.generating, model.weights, model.prompts, given.folder, progress) as url:
                _chat(model, bodies, url, plan, found, progress)
    if "transformers" in plan.ways:
        found.add("transformers", 1, Paper(model).round(bodies[:1]))
    return found


def compare(
    traffic: Traffic,
    people: Sequence[Person],
    bodies: Sequence[Body],
    url: str,
    plan: Plan,
    found: Found,
    progress: Progress,
) -> None:
    """The gateway and the model server in turns."""
    warming = len(people) - plan.users
    with gateway(traffic.given, **traffic.settings(url)) as web, asyncio.Runner() as runner:
        service, raw = Service(web, url, traffic.candidates), Raw(url)
        left: dict[str, Iterator[Body]] = {"service": traffic.requests(people), "raw": iter(bodies)}
        ask: dict[str, Callable[[list[Body], int], Round]] = {
            "service": lambda some, level: runner.run(service.round(some, level)),
            "raw": lambda some, level: runner.run(raw.round(some, level)),
        }
        order = [way for way in ("service", "raw") if way in plan.ways]
        task = progress.add_task("asking", total=len(order) * (plan.users + warming))
        for way in order:
            # Each picture once: what follows is how it is when the items have been ranked before, for others.
            ask[way](_take(left[way], warming), 4)
            progress.advance(task, warming)
        for number in range(plan.rounds):
            for level in plan.in_flight:
                for way in order if number % 2 == 0 else order[::-1]:
                    some = _take(left[way], plan.count(level))
                    found.add(way, level, ask[way](some, level))
                    progress.advance(task, len(some))


def _chat(model: Ranked, bodies: Sequence[Body], url: str, plan: Plan, found: Found, progress: Progress) -> None:
    labels = model.manifest.labels
    if labels is None:
        raise UserError(f"{model.manifest.id} names no label tokens")
    chat, left = Chat(url, labels), iter(bodies)
    task = progress.add_task("chatting", total=1 + sum(plan.in_flight))
    with asyncio.Runner() as runner:
        for level in (0, *plan.in_flight):
            some = _take(left, max(1, level))
            measured = runner.run(chat.round(some, max(1, level)))
            if level:
                found.add("chat", level, measured)
            progress.advance(task, len(some))


def _take(left: Iterator[Body], count: int) -> list[Body]:
    return [next(left) for _ in range(count)]


if __name__ == "__main__":
    run(main)
