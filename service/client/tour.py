"""The demo: load the demo world's catalogue, let a few users change their taste, then add an item, over HTTP only.

Everything that is printed comes from the running service: the summary after each fold, the ranking before and after a
taste changes, and for whom an item is found that nobody has met. The tour knows the true attributes of the items and
shows them next to the ranking for comparison.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_store.demo import CATALOGUE, ITEMS, SEED
from model_store.demo.world import Taste, WorldItem, make_items, write_catalogue
from model_store.progress import quiet, stages
from service.client.catalogue import load_missing
from service.client.client import Json, ServiceClient
from service.client.waiting import wait_for_descriptions, wait_for_folds

_STALL_S, _POLL_S = 300.0, 0.05
_DEADLINE_MS = 10_000
_EMBEDDED_S = 60.0
_PLACES = 10
_NEW_ITEM = "demo-new-item"


@dataclass(frozen=True, slots=True)
class Character:
    """A user of the tour, with a first taste and the taste that replaces it."""

    user_id: str
    before: Taste
    after: Taste


def _taste(colours: str, shapes: str, genres: str, themes: str, dislikes: str) -> Taste:
    likes = {"colour": colours, "shape": shapes, "genre": genres, "theme": themes}
    genre, colour = dislikes.split()
    disliked = {"colour": (colour,), "shape": (), "genre": (genre,), "theme": ()}
    return Taste(0, {name: tuple(values.split()) for name, values in likes.items()}, disliked)


CHARACTERS = (
    Character(
        "demo-ana",
        _taste("red orange", "circle ring", "jazz blues", "sea city", "techno green"),
        _taste("blue green", "star triangle", "techno punk", "space forest", "jazz red"),
    ),
    Character(
        "demo-ben",
        _taste("white yellow", "square cross", "folk opera", "forest kitchen", "punk black"),
        _taste("black purple", "square cross", "punk salsa", "city space", "folk yellow"),
    ),
)


class Tour:
    """Plays the demo against one service.

    Args:
        folder: where the demo world's catalogue is written.
    """

    def __init__(self, client: ServiceClient, folder: Path, console: Console) -> None:
        self._client = client
        self._folder = folder
        self._console = console
        self._world = make_items(ITEMS, SEED)[:CATALOGUE]

    async def run(self) -> None:
        """Load the catalogue if it isn't loaded, then play every character.

        Raises:
            ServiceError: a request was refused, or nothing was folded for five minutes.
        """
        await self._load_catalogue()
        for character in CHARACTERS:
            await self._play(character)
        await self._add_item()

    async def _load_catalogue(self) -> None:
        wanted = {item.item_id for item in self._world}
        stored = {item["item_id"] async for item in self._client.items()}
        with stages() as report:
            if not wanted <= stored:
                write_catalogue(self._folder, self._world, SEED)
                await load_missing(self._client, self._folder, report)
            waiting = await wait_for_descriptions(self._client, wanted, report, stall_s=_STALL_S, poll_s=0.5)
        if waiting:
            self._console.print(f"  [yellow]{waiting} of {len(wanted)} pictures are not described yet[/]")

    async def _play(self, character: Character) -> None:
        user = character.user_id
        await self._client.delete_user(user)
        rng = random.Random(user)
        candidates = self._candidates(character, rng)
        played = set(candidates)
        self._console.rule(f"[bold]{user}")
        for taste, name, blocks in ((character.before, "first", 4), (character.after, "new", 6)):
            liked = ", ".join(value for values in taste.likes.values() for value in values)
            self._console.print(f"  [dim]the {name} taste:[/] {liked}")
            for _ in range(blocks):
                events = self._events(taste, played, rng)
                played.update(item.item_id for item, _ in events)
                await self._fold(user, events)
            await self._rank(character, candidates)

    def _candidates(self, character: Character, rng: random.Random) -> list[str]:
        """Four items for the first taste, four for the new one, four for neither."""
        groups: list[list[WorldItem]] = [[], [], []]
        for item in rng.sample(self._world, len(self._world)):
            before, after = character.before.affinity(item.attributes), character.after.affinity(item.attributes)
            if before >= 3 and after <= 0:
                groups[0].append(item)
            elif after >= 3 and before <= 0:
                groups[1].append(item)
            elif before <= 0 and after <= 0:
                groups[2].append(item)
        return [item.item_id for group in groups for item in group[:4]]

    def _events(self, taste: Taste, played: set[str], rng: random.Random) -> list[tuple[WorldItem, str]]:
        """One block: two items that the taste likes, and one that it likes or dislikes."""
        fresh = [item for item in rng.sample(self._world, len(self._world)) if item.item_id not in played]
        fresh.sort(key=lambda item: -taste.affinity(item.attributes))
        liked = rng.sample(fresh[:12], 2)
        last = fresh[-1] if rng.random() < 0.5 else next(item for item in fresh[:20] if item not in liked)
        return [*((item, "like") for item in liked), (last, "dislike" if last is fresh[-1] else "like")]

    async def _fold(self, user: str, events: Sequence[tuple[WorldItem, str]]) -> None:
        now = time.time()
        body = [
            {"user_id": user, "item_id": item.item_id, "type": kind, "timestamp": now + index / 1000}
            for index, (item, kind) in enumerate(events)
        ]
        for item, kind in events:
            attributes = ", ".join(item.attributes.values())
            self._console.print(f"  [cyan]{kind:>8}[/]  {escape(item.title)}  [dim]{attributes}[/]")
        await self._client.post_events(body)
        (state,) = await wait_for_folds(self._client, [user], quiet, stall_s=_STALL_S, poll_s=_POLL_S)
        summary = state["summary"]
        if summary is not None:
            self._console.print(f"  [green]summary {summary['version']}[/]  {escape(summary['text'])}")

    async def _add_item(self) -> None:
        """Add an item that fits one character's new taste and not the other's, and show where both find it."""
        fan, other = CHARACTERS
        # Of another world: the models have met none of its items.
        fitting = max(
            make_items(ITEMS, SEED + 1),
            key=lambda one: (fan.after.affinity(one.attributes), -other.after.affinity(one.attributes)),
        )
        item = replace(fitting, item_id=_NEW_ITEM)
        self._console.rule(f"[bold]a new item, {escape(item.title)}")
        self._console.print(f"  [dim]nobody has met it; it is {', '.join(item.attributes.values())}[/]")
        await self._client.delete_item(item.item_id)
        write_catalogue(self._folder / "new", [item], SEED)
        await load_missing(self._client, self._folder / "new", quiet)
        similar = await self._similar(item.item_id)
        if not similar:
            self._console.print("  [yellow]it has no vector yet: is there an embedder?[/]")
            return
        truth = {one.item_id: one for one in self._world}
        for one in similar:
            attributes = ", ".join(truth[one["item_id"]].attributes.values()) if one["item_id"] in truth else ""
            self._console.print(f"  similar, by {one['source']}: {escape(one['title'])}  [dim]{attributes}[/]")
        for character in CHARACTERS:
            await self._find(character, item)

    async def _similar(self, item_id: str) -> Sequence[Json]:
        """The items most similar to a new one, once it has a vector."""
        deadline = time.monotonic() + _EMBEDDED_S
        while True:
            found = await self._client.similar(item_id, 3)
            if found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(_POLL_S)

    async def _find(self, character: Character, item: WorldItem) -> None:
        """Print at which place of a recommendation without candidates the item is, and which stage found it."""
        body = {"user_id": character.user_id, "k": _PLACES, "explain": True, "deadline_ms": _DEADLINE_MS}
        items = (await self._client.recommend(body))["items"]
        place = next((one for one in items if one["item_id"] == item.item_id), None)
        affinity = character.after.affinity(item.attributes)
        where = "not among" if place is None else f"place {place['rank']} of"
        found = "" if place is None else f", found by {place['source']}, score {place['score']:.3f}"
        self._console.print(
            f"  {character.user_id} (attributes that the taste likes, minus those it dislikes: {affinity:+d}): "
            f"{where} the first {_PLACES}{found}"
        )

    async def _rank(self, character: Character, candidates: Sequence[str]) -> None:
        body = {
            "user_id": character.user_id,
            "candidates": list(candidates),
            "k": len(candidates),
            "deadline_ms": _DEADLINE_MS,
        }
        answer = await self._client.recommend(body)
        truth = {item.item_id: item for item in self._world}
        served = f"served by {answer['served_by']}, {answer['model']}, {answer['timing_ms']['total']:.0f} ms"
        table = Table(title=f"ranking for {character.user_id} ({served})", title_justify="left", box=None)
        table.add_column("rank", justify="right")
        for name in ("score", "title", "its picture", "its words"):
            table.add_column(name, no_wrap=True)
        for label in ("first", "new"):
            table.add_column(label, justify="right", min_width=5)
        for ranked in answer["items"]:
            item = truth[ranked["item_id"]]
            attributes = item.attributes
            table.add_row(
                str(ranked["rank"]),
                f"{ranked['score']:.3f}",
                escape(item.title),
                f"{attributes['colour']} {attributes['shape']}",
                f"{attributes['genre']}, {attributes['theme']}",
                f"{character.before.affinity(attributes):+d}",
                f"{character.after.affinity(attributes):+d}",
            )
        self._console.print(table)
        self._console.print(
            "  [dim]first, new: attributes that the first and the new taste like, minus those they dislike[/]\n"
        )
