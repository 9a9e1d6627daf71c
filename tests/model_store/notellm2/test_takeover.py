"""A new version of an embedder takes over under traffic: two real vLLM servers, a worker, and a gateway on a socket.

The versions have heads of different widths, so that each answer shows whose vectors it was made of: it must be the one
that version 1, or the one that version 2, gives by itself.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

from model_store.embedder_head import Head
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from service.http.connection import bounded_http
from service.settings import Settings
from service.settings.engines import EmbedderSettings
from service.settings.limits import LimitSettings
from service.settings.recommend import RecommendSettings
from service.settings.state import StateSettings
from service.settings.worker import WorkerSettings
from tests.conftest import RedisServer
from tests.redis_servers import emptied
from tests.second_version import add_second, copied, served
from tests.service.conftest import Gateway, gateway_on
from tests.service.serving import serving
from tests.workers.conftest import Worker, until
from tests.workers.doubles import RecordingSummarizer
from workers import embedders

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]
WORDS = ("red", "old", "quiet", "tall", "wet"), ("harbour", "tower", "garden", "train", "castle", "island")
ITEMS = [f"{colour} {place}" for colour in WORDS[0] for place in WORDS[1]]
USERS = {f"user-{number}": item for number, item in enumerate(ITEMS[:15])}
NEIGHBOURS, RECOMMENDED, ASKING = 8, 5, 8
BY_VECTORS = RecommendSettings(
    deadline_ms=60_000, retrieve=12, new_items_share=0, embedding_share=0.5, genre_share=0, duplicate_cosine=1.0
)
Answer = tuple[Any, ...]


@pytest.fixture
def registry(registered: tuple[Registry, Manifest], tmp_path: Path) -> Registry:
    """The trained embedder as version 1, in production, and as version 2 with a head of another width."""
    shared, first = registered
    registry = copied(shared, tmp_path / "models")
    head = registry.head(first)
    assert head is not None
    assert first.embedding is not None
    turned = np.random.default_rng(5).normal(size=(head.dimensions - 2, head.hidden)).astype(np.float32)
    embedding = first.embedding.model_copy(update={"dimensions": head.dimensions - 2})
    add_second(registry, first, embedding=embedding, **registry.write_head(first.name, 2, Head(turned, head.gate)))
    return registry


@pytest.fixture
def second_server(registry: Registry, registered: tuple[Registry, Manifest], tmp_path: Path) -> Iterator[str]:
    """The URL of a server of version 2."""
    yield from served(registry, registry.get(f"{registered[1].name}@2"), tmp_path / "vllm.log")


@pytest.fixture
def settings(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    embedder_server: str,
    registry: Registry,
    registered: tuple[Registry, Manifest],
    tmp_path: Path,
) -> Settings:
    embedder = EmbedderSettings(
        url=embedder_server,
        version=registered[1].name,
        allowed_urls=("http://127.0.0.1",),
        poll_s=0.05,
        check_every_s=0.1,
        connect_timeout_s=60.0,
        timeout_s=300.0,
    )
    return Settings(
        redis_url=emptied(request, "one"),
        data_dir=tmp_path / "data",
        model_store=str(registry.root),
        embedder=embedder,
        # Nothing is rejected on a busy machine.
        limits=LimitSettings(max_loop_lag_s=60.0),
        recommend=BY_VECTORS,
        state=StateSettings(buckets=4, redis_timeout_s=20.0, max_wait_s=0.05, clock_skew_s=0.0),
        worker=WorkerSettings(poll_s=0.02, drain_s=60),
    )


@pytest.fixture
async def gateway(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    """A gateway beside a worker, with a catalogue and users who liked one item each."""
    monkeypatch.setattr(embedders, "_KNOWN_S", 0.2)
    monkeypatch.setattr(embedders, "_POINTER_S", 0.05)
    async with gateway_on(settings) as gateway:
        worker = Worker(settings, RecordingSummarizer())
        items = [{"item_id": title, "title": title, "genres": [title.split()[1]]} for title in ITEMS]
        assert (await gateway.ask("POST", "/items", items)).json()["accepted"] == len(ITEMS)
        for user, item in USERS.items():
            event = {"user_id": user, "item_id": item, "type": "like"}
            assert (await gateway.ask("POST", "/events", event)).status_code == 202
        await until(lambda: _has(worker.folds("committed") == len(USERS)))
        yield gateway
        await worker.drain()


async def _has(condition: bool) -> bool:
    return condition


class Ask(NamedTuple):
    """A request, and what of its answer tells whose vectors it was made of."""

    method: str
    path: str
    user: str = ""
    diversity: float = 0.0

    @property
    def body(self) -> dict[str, Any] | None:
        rules = {"k": RECOMMENDED, "diversity": self.diversity, "explain": True}
        return {"user_id": self.user, **rules} if self.user else None

    def read(self, answer: dict[str, Any]) -> Answer:
        return tuple((item["item_id"], item["source"], round(item["score"], 6)) for item in answer["items"])


ASKS = [
    *(Ask("GET", f"/items/{item}/similar?k={NEIGHBOURS}") for item in ITEMS),
    # Vectors decide what is found, and for a diverse answer its order as well.
    *(Ask("POST", "/recommend", user, diversity) for user in USERS for diversity in (0.0, 0.7)),
]


class Traffic:
    """Threads that ask all the time, and in which order each request had which different answers."""

    def __init__(self, url: str) -> None:
        self._url, self._stop = url, threading.Event()
        self.rounds = [0] * ASKING
        self.seen: dict[Ask, list[Answer]] = {ask: [] for ask in ASKS}
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(ASKING)]

    async def __aenter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    async def round(self) -> dict[Ask, Answer]:
        """The answers after every thread has asked for everything in its part twice."""
        wanted = [rounds + 2 for rounds in self.rounds]
        await until(lambda: _has(all(now >= then for now, then in zip(self.rounds, wanted, strict=True))), 300)
        assert not self.failed
        return {ask: answers[-1] for ask, answers in self.seen.items()}

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=120.0) as client:
            while not self._stop.is_set():
                # Each request belongs to one thread, so that its answers are in order.
                for ask in ASKS[number::ASKING]:
                    response = client.request(ask.method, ask.path, json=ask.body)
                    if response.status_code != 200:
                        self.failed.append(f"{ask.path}: {response.text}")
                        continue
                    answer, seen = ask.read(response.json()), self.seen[ask]
                    if not seen or seen[-1] != answer:
                        seen.append(answer)
                self.rounds[number] += 1


async def test_a_new_version_takes_over_under_traffic_and_no_answer_mixes_versions(
    gateway: Gateway, registry: Registry, registered: tuple[Registry, Manifest], second_server: str
) -> None:
    name, embeddings = registered[1].name, gateway.store.embeddings
    first, second = f"{name}@1", f"{name}@2"

    async def searched(loads: int) -> bool:
        """Whether the gateway searches the complete index that it changed over to for this time."""
        loaded = sum(gateway.count("tastestream_index_loads_total", source=source) for source in ("redis", "file"))
        return (loaded, gateway.count("tastestream_index_vectors", tenant="default")) == (loads, len(ITEMS))

    await until(lambda: searched(1), 300)
    # The application has started already, with the only index that may change over.
    http = bounded_http(gateway.settings.limits, gateway.metrics)
    async with serving(gateway.app, http=http, lifespan="off") as url, Traffic(url) as traffic:
        before = await traffic.round()
        registry.promote(name, 2, urls=[second_server])
        await until(lambda: searched(2), 300)
        after = await traffic.round()
        assert await embeddings.indexes() == {first: 8, second: 6}, "the index before stays for a rollback"
        registry.rollback(name)
        await until(lambda: searched(3), 300)
        again = await traffic.round()
    assert not traffic.failed
    assert again == before
    differing = [ask for ask in ASKS if before[ask] != after[ask]]
    assert {ask.method for ask in differing} == {"GET", "POST"}
    assert len(differing) > len(ASKS) / 2, "most answers show their version"
    for ask in differing:
        assert traffic.seen[ask] == [before[ask], after[ask], before[ask]], "every answer is that of one version"
    assert all(traffic.seen[ask] == [before[ask]] for ask in ASKS if ask not in differing)
