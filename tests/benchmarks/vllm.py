"""A real vLLM server, the demo's summarizer on one, and what the demo world's users do."""

import asyncio
import contextlib
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.progress import Progress

from model_store.demo import ITEMS, MODELS, SEED
from model_store.demo.drawing import draw
from model_store.demo.world import Taste, make_items, simulate
from model_store.engine.engine import Engine
from model_store.msr.teacher import RuleBasedTeacher, TermFinder
from model_store.prompts import PromptSet
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from model_store.serving.launch import VllmServer
from model_store.views import InteractionView, ItemView
from service.state.records import Event, Item

START_S = 600.0
UNSEEN = 1_000
"""Added to the seed of the demo's world: users whom its model was not trained on, with the same catalogue."""


@dataclass(frozen=True)
class Served:
    """The demo's summarizer on a running server."""

    url: str
    manifest: Manifest
    prompts: PromptSet

    @property
    def environment(self) -> dict[str, object]:
        """The settings of a service that uses it."""
        return {
            "SUMMARIZER__URL": self.url,
            "SUMMARIZER__MODEL": self.manifest.id,
            "SUMMARIZER__VERSION": self.manifest.id,
            "MODEL_STORE": MODELS,
        }

    def engine(self, timeout_s: float) -> Engine:
        """A new client for it; the caller closes it."""
        return Engine(self.url, self.manifest.id, self.prompts, self.manifest, timeout_s=timeout_s)


@contextlib.contextmanager
def summarizer(folder: Path, progress: Progress) -> Iterator[Served]:
    """A server of the demo's summarizer."""
    registry = Registry(MODELS)
    manifest = registry.get("demo-summarizer")
    prompts = registry.prompts(manifest)
    with running(manifest, registry.local_folder(manifest), prompts, folder, progress) as url:
        yield Served(url, manifest, prompts)


@contextlib.contextmanager
def running(manifest: Manifest, weights: Path, prompts: PromptSet, folder: Path, progress: Progress) -> Iterator[str]:
    """Start a server of one version, which takes most of a minute, and stop it at the end; yields its URL."""
    server = VllmServer(manifest, weights, prompts.folder, folder / "vllm.log")
    task = progress.add_task("starting vLLM", total=60)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        try:
            told = lambda elapsed, phase: progress.update(task, completed=elapsed, description=f"vLLM: {phase}")  # noqa: E731
            runner.run(server.wait_healthy(told, START_S))
            progress.remove_task(task)
            yield server.url
        finally:
            runner.run(server.stop())


@dataclass(frozen=True)
class Person:
    """A user of the demo world: what was done, oldest first, and what is liked at its end."""

    user_id: str
    events: list[Event]
    taste: Taste


class World:
    """The demo's catalogue, with users whom the model has not seen."""

    def __init__(self, items: int = ITEMS) -> None:
        self._items = make_items(items, SEED)

    @cached_property
    def items(self) -> dict[str, Item]:
        """The catalogue as the store has it, described as the pictures are."""
        return {
            item.item_id: Item(
                item.item_id,
                item.title,
                genres=(item.attributes["genre"],),
                summary=item.caption,
                picture=None,
                described=True,
            )
            for item in self._items
        }

    def picture(self, item_id: str, side: int) -> bytes:
        """What the item looks like, as a JPEG of `side` x `side` pixels."""
        item = next(item for item in self._items if item.item_id == item_id)
        out = io.BytesIO()
        drawn = draw(item.attributes["colour"], item.attributes["shape"], side, random.Random(f"{item_id} {SEED}"))
        drawn.save(out, format="JPEG", quality=92, subsampling=0)
        return out.getvalue()

    @cached_property
    def views(self) -> dict[str, ItemView]:
        return {name: ItemView(item.title, item.genres, summary=item.summary) for name, item in self.items.items()}

    @cached_property
    def _terms(self) -> TermFinder:
        return TermFinder.learn(list(self.views.values()))

    def people(self, count: int, events: int, seed: int = 0) -> list[Person]:
        """`count` users of `events` events each."""
        lived = simulate(self._items, count, SEED + UNSEEN + seed, (events, events))
        return [
            Person(
                f"{name}-{seed}",
                [
                    Event(f"{name}-{number}-{seed}", f"{name}-{seed}", item, kind, 1000 * moment)
                    for number, (item, moment, kind) in enumerate(history)
                ],
                tastes[-1],
            )
            for name, history, tastes in lived
        ]

    def shown(self, events: list[Event]) -> list[InteractionView]:
        """The events as the model sees them."""
        return [InteractionView(event.type, self.views[event.item_id]) for event in events]

    def rule_summary(self, events: list[Event], block: int = 3) -> str:
        """What the teacher that the model was trained on writes about `events`."""
        teacher, text = RuleBasedTeacher(), ""
        for start in range(0, len(events), block):
            text = teacher.fold(text, self.shown(events[start : start + block]), self._terms)
        return text
