"""What it saves to ask the same replica of the ranker for each user, against a replica drawn at random.

Two vLLM servers score the demo's model. Users come again and again, in an order of chance, each time with other
candidates. Both ways take turns, and each round has users that neither server has seen. A hit is a token of a prompt
that the server found in its prefix cache, whether from an earlier candidate of the same request or from an earlier
request of the user.
"""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from model_store.engine.engine import Engine
from model_store.engine.replicas import Replicas
from model_store.views import ItemView, UserView
from tests.benchmarks.command import run
from tests.benchmarks.ranking_models import Ranked, open_model
from tests.benchmarks.ranking_requests import Call, drive
from tests.benchmarks.ranking_ways import Series, counted_by, hit_ratio
from tests.benchmarks.tables import Findings, Markdown, bar, ranged
from tests.benchmarks.vllm import Person, World, running

_EVENTS = 12
_SERVERS = 2
_AT_ONCE = 4
_TIMEOUT_S = 600.0
WAYS = ("a user's own replica", "any replica")


@dataclass(frozen=True)
class Round:
    """One way, one round."""

    hits: float
    candidates_per_s: float


def main(
    users: Annotated[int, typer.Option(help="Users of a round.", min=1)] = 24,
    requests: Annotated[int, typer.Option(help="Requests of each user.", min=1)] = 6,
    candidates: Annotated[list[int], typer.Option(help="Candidates of a request; may be given again.", min=1)] = [1, 8],  # noqa: B006
    rounds: Annotated[int, typer.Option(help="Rounds of each way.", min=1)] = 3,
    markdown: Markdown = None,
) -> None:
    """Ask two replicas for candidates, by user and at random."""
    found = Findings("Replicas of the ranker", markdown, "not used")
    with tempfile.TemporaryDirectory(prefix="replicas-") as name, bar() as progress, ExitStack() as stack:
        model, urls = open_model("demo", Path(name)), []
        for number in range(_SERVERS):
            folder = Path(name) / str(number)
            folder.mkdir()
            urls.append(stack.enter_context(running(model.manifest, model.weights, model.prompts, folder, progress)))
        measured = asyncio.run(_measure(model, urls, users, requests, candidates, rounds))
    found.say(
        f"{model}; {_SERVERS} replicas; {users} users with {requests} requests each, {_AT_ONCE} requests at a time; "
        f"median and range of {rounds} rounds."
    )
    rows = [
        (
            f"{count}, {way}",
            ranged([100 * one.hits for one in each], 1),
            ranged([one.candidates_per_s for one in each], 0),
        )
        for (count, way), each in measured.items()
    ]
    found.table(("candidates a request, asked", "prefix-cache hits, %", "candidates/s"), rows)
    found.save()


async def _measure(
    model: Ranked, urls: Sequence[str], users: int, requests: int, candidates: Sequence[int], rounds: int
) -> dict[tuple[int, str], list[Round]]:
    """Both ways in turns, after a round that warms the servers up; the rounds by number of candidates and way."""
    world = World()
    items = [replace(view, image=world.picture(name, model.manifest.picture.width)) for name, view in _some(world)]
    engines = [
        Engine(
            url, model.manifest.id, model.prompts, model.manifest, timeout_s=_TIMEOUT_S, max_concurrent_calls=_AT_ONCE
        )
        for url in urls
    ]
    replicas = Replicas(engines)
    settings = [(count, way) for _ in range(rounds) for count in candidates for way in WAYS]
    found: dict[tuple[int, str], list[Round]] = {setting: [] for setting in settings}
    try:
        for number, (count, way) in enumerate([settings[0], *settings]):
            people = world.people(users, _EVENTS, seed=number)
            calls = _calls(replicas, way, world, people, items, requests, count)
            before = _counted(urls)
            seconds, _ = await drive(calls, _AT_ONCE)
            if number:
                hits = hit_ratio(_counted(urls) - before)
                found[count, way].append(Round(hits, len(calls) * count / seconds))
    finally:
        await replicas.close()
    return found


def _counted(urls: Sequence[str]) -> Counter[Series]:
    """The counters of all servers, added up."""
    return sum(map(counted_by, urls), Counter())


def _some(world: World) -> list[tuple[str, ItemView]]:
    """A part of the catalogue, since pictures take a while to draw."""
    return sorted(world.views.items())[:200]


def _calls(
    replicas: Replicas,
    way: str,
    world: World,
    people: Sequence[Person],
    items: Sequence[ItemView],
    requests: int,
    candidates: int,
) -> list[Call]:
    """All requests of a round, in an order of chance."""
    rng = random.Random(people[0].user_id)
    calls: list[Call] = []
    for person in people:
        user = UserView(world.rule_summary(person.events), tuple(world.shown(person.events)))
        for _ in range(requests):
            # The servers' order for a key of chance is one of chance.
            key = person.user_id if way == WAYS[0] else rng.randbytes(8).hex()
            calls.append(_call(replicas, key, user, rng.sample(items, candidates)))
    rng.shuffle(calls)
    return calls


def _call(replicas: Replicas, key: str, user: UserView, items: Sequence[ItemView]) -> Call:
    return lambda: replicas.score(key, user, items, timeout_s=_TIMEOUT_S)


if __name__ == "__main__":
    run(main)
