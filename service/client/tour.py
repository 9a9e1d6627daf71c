"""The demo: load the world's catalogue, then let a few users change their minds, over HTTP only.

Everything that is printed comes out of the running service: events in, the summary after each
fold, the ranked list before and after a taste changes. The tour knows the true attributes of the
items, and shows them beside the ranking so that a reader can judge it.
"""

import asyncio
import base64
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_store.data.dataset import DatasetItem, read_items
from model_store.demo import CATALOGUE, ITEMS, SEED
from model_store.demo.world import Taste, WorldItem, make_items, write_catalogue
from model_store.errors import UserError
from model_store.progress import stages

_BATCH = 100
_BLOCK = 3
_DEADLINE_S = 300.0


class TourFailed(UserError):
    """The service answered otherwise than the tour needs; the message says where."""


@dataclass(frozen=True, slots=True)
class Character:
    """A user of the tour: a taste, and the taste that replaces it."""

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
    """A client of the running service at `url`."""

    def __init__(self, url: str, folder: Path, console: Console, *, api_key: str | None = None) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.AsyncClient(base_url=url, timeout=60.0, headers=headers)
        self._folder = folder
        self._console = console
        self._world = make_items(ITEMS, SEED)[:CATALOGUE]

    async def run(self) -> None:
        """Load the catalogue if it isn't loaded, then play every character.

        Raises:
            TourFailed: a call was refused, or a fold took longer than five minutes.
        """
        try:
            await self._load_catalogue()
            for character in CHARACTERS:
                await self._play(character)
        except httpx.HTTPError as error:
            raise TourFailed(f"the service did not answer the tour: {error}") from error
        finally:
            await self._http.aclose()

    async def _load_catalogue(self) -> None:
        listed = {item["item_id"]: item for item in await self._catalogue()}
        wanted = {item.item_id for item in self._world}
        if not wanted <= listed.keys():
            write_catalogue(self._folder, self._world, SEED)
            items = list(read_items(self._folder))
            missing = [item for item in items if item.item_id not in listed]
            with stages() as report:
                for start in range(0, len(missing), _BATCH):
                    await self._call("POST", "/items", [_wire_item(item) for item in missing[start : start + _BATCH]])
                    report("loading the catalogue", min(1.0, (start + _BATCH) / len(missing)), "")
        with stages() as report:
            deadline = time.monotonic() + _DEADLINE_S
            while (done := sum(bool(item.get("summary")) for item in await self._catalogue())) < len(wanted):
                report("describing its pictures", done / len(wanted), "")
                if time.monotonic() > deadline:
                    self._console.print(f"  [yellow]{done} of {len(wanted)} pictures are described; going on[/]")
                    return
                await asyncio.sleep(0.5)
            report("describing its pictures", 1.0, "")

    async def _catalogue(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            query = f"/items?limit=500{f'&cursor={cursor}' if cursor else ''}"
            page = await self._call("GET", query)
            items += page["items"]
            if not (cursor := page.get("next_cursor")):
                return items

    async def _play(self, character: Character) -> None:
        user = character.user_id
        await self._call("DELETE", f"/users/{user}")
        rng = random.Random(user)
        candidates = self._candidates(character, rng)
        played = set(candidates)
        self._console.rule(f"[bold]{user}")
        for taste, name, blocks in ((character.before, "first", 4), (character.after, "new", 6)):
            self._console.print(f"  [dim]the {name} taste:[/] {_words(taste)}")
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
            self._console.print(f"  [cyan]{kind:>8}[/]  {escape(item.title)}  [dim]{_truth(item)}[/]")
        await self._call("POST", "/events", body)
        deadline = time.monotonic() + _DEADLINE_S
        while (state := await self._call("GET", f"/users/{user}"))["pending_events"]:
            if time.monotonic() > deadline:
                raise TourFailed(f"the events of {user} were not folded within five minutes; is a worker running?")
            await asyncio.sleep(0.05)
        summary = state["summary"]
        if summary is not None:
            self._console.print(f"  [green]summary {summary['version']}[/]  {escape(summary['text'])}")

    async def _rank(self, character: Character, candidates: Sequence[str]) -> None:
        body = {
            "user_id": character.user_id,
            "candidates": list(candidates),
            "k": len(candidates),
            "deadline_ms": 10_000,
        }
        answer = await self._call("POST", "/recommend", body)
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
            "  [dim]first, new: attributes that the first and the new taste like, less those they dislike[/]\n"
        )

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else orjson.dumps(body)
        answer = await self._http.request(method, path, content=content, headers={"content-type": "application/json"})
        if answer.is_error:
            raise TourFailed(f"{method} {path.split('?')[0]} answered {answer.status_code}: {answer.text[:300]}")
        return orjson.loads(answer.content) if answer.content else None


def _wire_item(item: DatasetItem) -> dict[str, Any]:
    body: dict[str, Any] = {"item_id": item.item_id, "title": item.title, "genres": list(item.genres)}
    if item.image is not None:
        body["image_base64"] = base64.b64encode(item.image.read_bytes()).decode()
    return body


def _truth(item: WorldItem) -> str:
    return ", ".join(item.attributes.values())


def _words(taste: Taste) -> str:
    return ", ".join(value for values in taste.likes.values() for value in values)
