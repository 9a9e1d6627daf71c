"""What a call to a model costs its caller in CPU: a fold's summary, and the scores of a request's candidates.

The server answers at once, from a process of its own, so that what is left is the engine: rendering, JSON, HTTP. Kinds
take turns, and a first round warms up. `HTTP` sends the same request again as JSON, without rendering. Candidates
recur, as they do when the same ones are ranked for one user after the other; their pictures are fitted already.
"""

import asyncio
import io
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from PIL import Image

from model_store.engine.client import VllmClient
from model_store.engine.engine import Engine
from model_store.prompts import PromptSet
from model_store.serving.launch import free_port
from model_store.views import InteractionView, ItemView, UserView
from tests.benchmarks.command import run
from tests.benchmarks.processes import child, wait_for
from tests.benchmarks.tables import Findings, Markdown, bar, ranged

Call = Callable[[], Awaitable[object]]
WORDS = ("calm", "harbour", "tower", "river", "lamp", "night", "sea", "train", "market", "garden", "winter", "stone")
LEVELS = [1, 16, 64]
PIXELS = (64, 64)
RECENTS = 10
BLOCK = 3


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of each kind, in turns.", min=1)] = 5,
    calls: Annotated[int, typer.Option(help="Calls of a round.", min=1)] = 400,
    candidates: Annotated[int, typer.Option(help="Candidates of a request, each with a picture.", min=1)] = 50,
    levels: Annotated[list[int], typer.Option("--concurrency", help="May be repeated.", min=1, max=64)] = LEVELS,
    markdown: Markdown = None,
) -> None:
    """Measure the CPU time of the engine's calls."""
    found = Findings("CPU of a call", markdown)
    items = _items(max(candidates, RECENTS))
    rows = []
    with tempfile.TemporaryDirectory() as name, bar() as progress:
        folder = Path(name)
        port = free_port()
        arguments = (f"{port}", f"{candidates}")
        with child("instant", "tests.benchmarks.instant", *arguments, environment=os.environ, folder=folder):
            url = f"http://127.0.0.1:{port}"
            wait_for(url, folder / "instant.log")
            task = progress.add_task("asking", total=len(levels))
            for level in levels:
                costs = uvloop.run(_costs(url, items, candidates, level, rounds, calls))
                rows.append([f"{level}", *(ranged(values, 2) for values in costs.values())])
                progress.advance(task)
    found.say(f"Milliseconds of CPU per call; {calls} calls a round, {candidates} candidates with a picture each.")
    found.table(["concurrency", *(kind.strip() for kind in costs)], rows)
    found.save()


async def _costs(
    url: str, items: list[ItemView], candidates: int, level: int, rounds: int, calls: int
) -> dict[str, list[float]]:
    """The cost of each kind of call in each round."""
    engine = Engine(url, "model", PromptSet.built_in("default"))
    client = Recording(url)
    recording = Engine(url, "model", PromptSet.built_in("default"))
    recording._client = recording._scorer._client = client  # type: ignore[attr-defined]
    likes = tuple(InteractionView("like", item) for item in items[:RECENTS])
    user = UserView(" ".join(WORDS * 4), likes)

    async def summarize(engine: Engine) -> None:
        await engine.summarize(user.summary, likes[:BLOCK])

    async def score(engine: Engine) -> None:
        await engine.score(user, items[:candidates])

    await summarize(recording)
    await score(recording)
    kinds: dict[str, Call] = {
        "summarize": lambda: summarize(engine),
        "its HTTP": lambda: client.post("/v1/chat/completions", client.sent["/v1/chat/completions"]),
        "score": lambda: score(engine),
        "its HTTP ": lambda: client.post("/score", client.sent["/score"]),
    }
    costs: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds + 1):
        for kind, call in kinds.items():
            costs[kind].append(await _cpu_ms(call, calls, level))
    await engine.close()
    await client.close()
    return {kind: values[1:] for kind, values in costs.items()}


class Recording(VllmClient):
    """Remembers what it sent to each path."""

    def __init__(self, url: str) -> None:
        super().__init__(url, connect_timeout_s=1.0, max_concurrent_calls=64)
        self.sent: dict[str, Mapping[str, Any]] = {}

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        self.sent[path] = body
        return await super().post(path, body)


async def _cpu_ms(call: Call, calls: int, level: int) -> float:
    """CPU time of this process per call, `level` of them at a time."""
    left = iter(range(calls))

    async def ask() -> None:
        for _ in left:
            await call()

    before = time.process_time()
    await asyncio.gather(*(ask() for _ in range(level)))
    return 1000 * (time.process_time() - before) / calls


def _items(count: int) -> list[ItemView]:
    rng = random.Random(0)
    return [
        ItemView(
            title=f"{rng.choice(WORDS)} {rng.choice(WORDS)} {number}",
            genres=("drama", "mystery"),
            tags=tuple(rng.sample(WORDS, 3)),
            description=" ".join(rng.choices(WORDS, k=18)),
            summary=" ".join(rng.choices(WORDS, k=8)),
            image=_picture(rng),
        )
        for number in range(count)
    ]


def _picture(rng: random.Random) -> bytes:
    out = io.BytesIO()
    Image.frombytes("RGB", PIXELS, rng.randbytes(3 * PIXELS[0] * PIXELS[1])).save(out, format="PNG")
    return out.getvalue()


if __name__ == "__main__":
    run(main)
