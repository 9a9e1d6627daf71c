"""Users with a state, a catalogue with pictures, and what is asked about them: of the gateway, and of the model."""

import asyncio
import random
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model_store.engine.client import VllmClient
from tests.benchmarks.fill import fold, open_store
from tests.benchmarks.processes import Bench, gateway
from tests.benchmarks.ranking_models import Ranked
from tests.benchmarks.traffic import now_ms
from tests.benchmarks.vllm import Person, World
from tests.service.serving import ModelServer, serving

Body = dict[str, Any]
Call = Callable[[], Awaitable[object]]
EVENTS = 12
DEADLINE_MS = 600_000
_SIDE = 256
_ITEMS_A_REQUEST = 50
_AT_ONCE = 4


async def drive(calls: Iterable[Call], in_flight: int) -> tuple[float, list[float]]:
    """Make all calls, `in_flight` of them at a time; returns the seconds of all, and of each."""
    left, latencies = iter(calls), list[float]()

    async def caller() -> None:
        for call in left:
            started = time.perf_counter()
            await call()
            latencies.append(time.perf_counter() - started)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(caller())
    return time.perf_counter() - began, latencies


def posting(client: VllmClient, path: str, bodies: Iterable[Body]) -> list[Call]:
    """A POST of each body."""
    return [lambda body=body: client.post(path, body) for body in bodies]  # type: ignore[misc]


def open_client(url: str) -> VllmClient:
    """Posts JSON to any server; as light as the gateway's own client, which it is."""
    return VllmClient(url, connect_timeout_s=60.0, max_concurrent_calls=10_000)


@dataclass(frozen=True)
class Traffic:
    """Requests for `/recommend`, each of another user, with candidates that the user has not seen."""

    given: Bench
    model: Ranked
    world: World
    candidates: int

    def settings(self, url: str) -> dict[str, object]:
        """Those of a gateway whose ranker is at `url`; no deadline cuts anything off."""
        return {
            "RANKER__URL": url,
            "RANKER__VERSION": self.model.manifest.id,
            "RANKER__TIMEOUT_S": DEADLINE_MS / 1000,
            "MODEL_STORE": self.model.registry.root,
            "RECOMMEND__DEADLINE_MS": DEADLINE_MS,
        }

    async def prepare(self, people: Sequence[Person]) -> None:
        """Give the service the catalogue and the users, each with a summary and recents."""
        with gateway(self.given) as web:
            client = open_client(web.url)
            await drive(posting(client, "/items", self._items()), _AT_ONCE)
            await client.close()
        summaries = {person.user_id: self.world.rule_summary(person.events) for person in people}
        store = open_store(self.given.url, EVENTS)
        await store.events.accept([event for person in people for event in person.events], now_ms())
        await fold(store, lambda claim: summaries[claim.key])
        await store.close()

    def requests(self, people: Sequence[Person], seed: int = 0) -> Iterator[Body]:
        """One for each user. Candidates are drawn without replacement until all items were drawn, then anew."""
        items = self._shuffled(random.Random(seed))
        for person in people:
            chosen: dict[str, None] = {}
            seen = {event.item_id for event in person.events}
            while len(chosen) < self.candidates:
                if (item_id := next(items)) not in seen:
                    chosen[item_id] = None
            yield {"user_id": person.user_id, "candidates": list(chosen)}

    async def bodies(self, people: Sequence[Person]) -> list[Body]:
        """What the gateway sends to its ranker when these users ask, taken down by a server in the ranker's place."""
        probe = self.model.manifest.probe
        recorder = ModelServer(default=probe.score if probe else 0.5)
        async with serving(recorder.app()) as url:
            with gateway(self.given, **self.settings(url)) as web:
                client = open_client(web.url)
                await drive(posting(client, "/recommend", self.requests(people)), _AT_ONCE)
                await client.close()
        # The probe is asked about one candidate.
        return [body for body in recorder.requests if len(body["documents"]) == self.candidates]

    def _shuffled(self, rng: random.Random) -> Iterator[str]:
        while True:
            yield from rng.sample(list(self.world.items), len(self.world.items))

    def _items(self) -> Iterator[Body]:
        items = [
            {
                "item_id": item.item_id,
                "title": item.title,
                "genres": item.genres,
                "image_base64": b64encode(self.world.picture(item.item_id, _SIDE)).decode(),
            }
            for item in self.world.items.values()
        ]
        for start in range(0, len(items), _ITEMS_A_REQUEST):
            yield {"items": items[start : start + _ITEMS_A_REQUEST]}
