"""Callers of a running service: what they send every second, and now and then."""

import asyncio
import base64
import contextlib
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from model_store.demo import CATALOGUE, ITEMS, SEED
from model_store.demo.drawing import COLOURS, SHAPES, draw
from model_store.demo.world import make_items
from tests.service.pictures.pictures import saved

_IN_FLIGHT = 16
_TYPES = ("view", "view", "like", "like", "dislike", "purchase")


class Traffic:
    """Visits by users of the demo world to several gateways, with mistakes as callers make them.

    Args:
        gateways: their URLs; visits take turns.
        pictures: the URL of a picture, for items that are given with one.
        encoder: the URL of a picture encoder, which is sent a picture at times.
        visits_per_s: how many visits begin in a second, while fewer than 16 are under way.
        deadline_ms: of each recommendation.
    """

    def __init__(
        self,
        gateways: Sequence[str],
        pictures: str,
        encoder: str,
        *,
        visits_per_s: float = 4.0,
        users: int = 60,
        deadline_ms: int = 1500,
        seed: int = 7,
    ) -> None:
        self._gateways = gateways
        self._pictures = pictures
        self._encoder = encoder
        self._pause_s = 1 / visits_per_s
        self._users = users
        self._deadline_ms = deadline_ms
        self._random = random.Random(seed)
        self._world = make_items(ITEMS, SEED)[:CATALOGUE]
        self._stop = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Visit until the end, in a thread."""
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    async def _run(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        async with httpx.AsyncClient(timeout=20.0, trust_env=False) as http:
            number = 0
            while not self._stop.is_set():
                if len(under_way) < _IN_FLIGHT:
                    task = asyncio.create_task(self._visit(http, number))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                    number += 1
                await asyncio.sleep(self._pause_s)
            await asyncio.gather(*under_way)

    def load(self) -> None:
        """Put the catalogue, without pictures: items with pictures come later, one by one."""
        items = [
            {"item_id": item.item_id, "title": item.title, "genres": [item.attributes["genre"]]} for item in self._world
        ]
        httpx.post(f"{self._gateways[0]}/items", json=items, timeout=60.0, trust_env=False).raise_for_status()

    async def _visit(self, http: httpx.AsyncClient, number: int) -> None:
        """A user comes, looks at items, is recommended some, and takes one."""
        gateway = self._gateways[number % len(self._gateways)]
        user = f"visitor-{self._random.randrange(self._users)}"
        seen = self._random.sample(self._world, self._random.choice((1, 3)))
        events = [self._event(user, item.item_id) for item in seen]
        await self._send(http, gateway, "POST", "/events", events)
        ask = self._ask(user, number)
        answer = await self._send(http, gateway, "POST", "/recommend", ask)
        if number % 4 == 0:
            answer = await self._send(http, gateway, "POST", "/recommend", ask)
        if answer and answer["items"]:
            taken = self._event(user, answer["items"][0]["item_id"], recommendation_id=answer["recommendation_id"])
            await self._send(http, gateway, "POST", "/events", taken)
        await self._now_and_then(http, gateway, user, number)

    def _event(self, user: str, item: str, **more: str) -> dict[str, Any]:
        return {"user_id": user, "item_id": item, "type": self._random.choice(_TYPES), **more}

    def _ask(self, user: str, number: int) -> dict[str, Any]:
        """With candidates or without; sometimes with too few, and sometimes with unknown ones."""
        body: dict[str, Any] = {"user_id": user, "deadline_ms": self._deadline_ms, "k": 5}
        candidates = [item.item_id for item in self._random.sample(self._world, 8)]
        if number % 10 == 3:
            return body | {"candidates": candidates[:2]}
        if number % 10 == 7:
            return body | {"candidates": ["nobody-knows"]}
        return body | ({"candidates": candidates} if number % 2 else {})

    async def _now_and_then(self, http: httpx.AsyncClient, gateway: str, user: str, number: int) -> None:
        """What is rare: pictures, changed and deleted items, erased users, and mistakes."""
        own = {"title": f"A thing of {number}", "genres": ["folk"]}
        picture = draw(self._random.choice(tuple(COLOURS)), self._random.choice(SHAPES), 64, self._random)
        encoded = base64.b64encode(saved(picture)).decode()
        known = self._random.choice(self._world).item_id
        rare: list[tuple[str, str, Any]] = [
            ("PUT", f"/items/own-{number}", own | {"image_base64": encoded}),
            ("PUT", f"/items/fetched-{number}", own | {"image_url": f"{self._pictures}?{number}"}),
            ("PUT", f"/items/own-{number}", own | {"image_base64": "bm8gcGljdHVyZQ=="}),
            ("DELETE", f"/items/own-{number - 27}", None),
            ("DELETE", f"/users/{user}", None),
            ("POST", "/events", self._event(user, "nobody-knows")),
            ("POST", "/events", {"user_id": user, "item_id": known, "type": "gaze"}),
            ("POST", "/events", {"user_id": user, "item_id": known, "type": "impression"}),
            ("POST", "/events", [self._event(user, known, event_id=f"twice-{number}")] * 2),
            ("POST", "/events", [self._event(user, known), {"user_id": user}]),
            ("POST", "/events", self._event(user, known, recommendation_id="not-ours")),
            ("GET", f"/users/{user}", None),
        ]
        await self._send(http, gateway, *rare[number % len(rare)])
        if number % 4 == 1:
            with contextlib.suppress(httpx.TransportError):
                await http.post(f"{self._encoder}/encode", content=saved(picture))

    async def _send(
        self, http: httpx.AsyncClient, gateway: str, method: str, path: str, body: Any
    ) -> dict[str, Any] | None:
        """The answer, if there is a good one: services fail while the tests break them."""
        try:
            answer = await http.request(method, f"{gateway}{path}", json=body)
        except httpx.TransportError:
            return None
        found = answer.json() if answer.is_success and answer.content else None
        return found if isinstance(found, dict) else None
