"""Searches among the vectors of items, by number of items: how exact, how fast, how large, and how soon after a commit.

Vectors lie in clusters, as those of a catalogue do, and a query is near to one of them. Recall is the share of the true
100 nearest among the 100 that were found. Qdrant runs in its local mode, in this process: its server was not measured.
Redis is filled directly; the lag is measured with items that the store writes, while the others stay as they are.
"""

import asyncio
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import redis
import typer
from numpy.typing import NDArray

from service.index.exact import ExactIndex
from service.index.follower import Follower
from service.index.qdrant import QdrantIndex, open_qdrant
from service.index.vector_index import Found, VectorIndex
from service.metrics import Metrics
from service.settings import Settings
from service.settings.engines import EmbedderSettings
from service.settings.state import StateSettings
from service.state.keys import Keys
from service.state.records import Item
from service.state.store import Store
from tests.benchmarks.command import run
from tests.benchmarks.processes import bench
from tests.benchmarks.tables import Findings, Markdown, percentile

DIMENSIONS, K = 64, 100
VERSION = "bench-embedder@1"
CLUSTERS = 1000
_BATCH = 10_000
Vectors = NDArray[np.float32]


def main(
    sizes: Annotated[str, typer.Option(help="Numbers of items, separated by commas.")] = "10000,100000,1000000",
    searches: Annotated[int, typer.Option(help="Searches of each kind.", min=10)] = 200,
    updates: Annotated[int, typer.Option(help="Commits whose lag is measured.", min=10)] = 100,
    qdrant_most: Annotated[int, typer.Option(help="Most items for Qdrant's local mode.")] = 10_000,
    markdown: Markdown = None,
) -> None:
    found = Findings("Search among vectors", markdown)
    numbers = [int(size) for size in sizes.split(",")]
    rows = [row for count in numbers for row in _searched(count, searches, qdrant_most)]
    columns = ("items, index", "recall@100", "1 query p50 ms", "p99 ms", "4 queries p50 ms", "p99 ms", "bytes per item")
    found.table(columns, rows)
    found.say(
        f"{DIMENSIONS} dimensions. Bytes as Python allocated them, with ids. Below, a gateway process beside a Redis."
    )
    lags = [asyncio.run(_followed(count, updates)) for count in numbers]
    found.table(
        (
            *("items", "bytes per item in Redis", "loaded from Redis s", "from a file s"),
            *("commit to search p50 ms", "p99 ms", "idle poll ms"),
        ),
        lags,
    )
    found.save()


def drawn(count: int, seed: int = 0) -> Vectors:
    """Unit vectors around the same cluster centres."""
    centres = np.random.default_rng(1).standard_normal((CLUSTERS, DIMENSIONS))
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, CLUSTERS, count)] + 0.7 * rng.standard_normal((count, DIMENSIONS))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _searched(count: int, searches: int, qdrant_most: int) -> list[list[str]]:
    vectors, queries = drawn(count), drawn(searches, seed=2)
    kinds: dict[str, Callable[[], VectorIndex]] = {
        "exact float32": lambda: ExactIndex(VERSION, DIMENSIONS, np.float32),
        "exact float16": lambda: ExactIndex(VERSION, DIMENSIONS, np.float16),
    }
    if count <= qdrant_most:
        kinds["Qdrant, local"] = _qdrant
    truth = [_nearest(vectors, query) for query in queries]
    return [[f"{count:,} {name}", *_of_index(make(), vectors, queries, truth)] for name, make in kinds.items()]


def _qdrant() -> VectorIndex:
    index = QdrantIndex(VERSION, DIMENSIONS, open_qdrant(":memory:"), "items")
    index.create()
    return index


def _nearest(vectors: Vectors, query: Vectors) -> set[str]:
    return {f"item-{place}" for place in np.argpartition(vectors @ query, -K)[-K:].tolist()}


def _of_index(index: VectorIndex, vectors: Vectors, queries: Vectors, truth: Sequence[set[str]]) -> list[str]:
    tracemalloc.start()
    for start in range(0, len(vectors), _BATCH):
        part = vectors[start : start + _BATCH]
        index.upsert([f"item-{number}" for number in range(start, start + len(part))], part)
    size = tracemalloc.get_traced_memory()[0] / len(vectors)
    tracemalloc.stop()
    one, four, recalls = list[float](), list[float](), list[float]()
    for number, query in enumerate(queries):
        (found,), ms = _timed(index, query[None])
        one.append(ms)
        recalls.append(len(truth[number].intersection(found.ids)) / K)
    for start in range(0, len(queries) - 3, 4):
        four.append(_timed(index, queries[start : start + 4])[1])
    times = [f"{percentile(values, percent):,.2f}" for values in (one, four) for percent in (50, 99)]
    return [f"{np.mean(recalls):.4f}", *times, f"{size:,.0f}"]


def _timed(index: VectorIndex, queries: Vectors) -> tuple[list[Found], float]:
    started = time.perf_counter()
    found = index.search(queries, K)
    return found, (time.perf_counter() - started) * 1000


async def _followed(count: int, updates: int) -> list[str]:
    with bench() as given, tempfile.TemporaryDirectory() as folder:
        embedder = EmbedderSettings(url="http://127.0.0.1:1", version=VERSION)
        store = Store(Settings(redis_url=given.url, embedder=embedder, state=StateSettings(redis_timeout_s=20)))
        await store.ping()
        before = int(given.redis.info("memory")["used_memory"])
        _fill(given.redis, count)
        size = (int(given.redis.info("memory")["used_memory"]) - before) / count
        await store.embeddings.use(VERSION, None)
        first, from_redis_s = await _started(store, Path(folder))
        while not (Path(folder) / f"{VERSION}.vectors").exists():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        await first.close()
        follower, from_file_s = await _started(store, Path(folder))
        lags = [await _lag_ms(store, follower, number) for number in range(updates)]
        await follower.close()
        idle = await _idle_ms(follower)
        await store.close()
    times = [f"{percentile(lags, percent):,.0f}" for percent in (50, 99)]
    return [f"{count:,}", f"{size:,.0f}", f"{from_redis_s:.2f}", f"{from_file_s:.2f}", *times, f"{idle:.2f}"]


def _fill(client: redis.Redis, count: int) -> None:
    """The vectors as the store writes them, without items."""
    keys, at = Keys(StateSettings().buckets), time.time_ns() // 1000
    for bucket in keys.items:
        client.hset(bucket.embedding_widths, VERSION, str(2 * DIMENSIONS))
        client.set(f"{bucket.stem}es", at)
    for start in range(0, count, _BATCH):
        vectors = drawn(min(_BATCH, count - start), seed=start).astype(np.float16)
        written: dict[int, tuple[dict[str, bytes], dict[str, int]]] = {}
        for number, vector in enumerate(vectors, start):
            rows, changes = written.setdefault(keys.bucket(f"item-{number}"), ({}, {}))
            rows[f"item-{number}"], changes[f"item-{number}"] = vector.tobytes(), at + number - count
        pipeline = client.pipeline(transaction=False)
        for place, (rows, changes) in written.items():
            commands: Any = pipeline
            commands.hset(keys.items[place].vectors(VERSION), mapping=rows)
            commands.zadd(keys.items[place].vector_changes(VERSION), changes)
        pipeline.execute()


async def _started(store: Store, folder: Path) -> tuple[Follower, float]:
    """A follower, and how long it took until it had an index."""
    started = time.perf_counter()
    follower = Follower(store.embeddings, folder, EmbedderSettings().poll_s, Metrics(), "default")
    await follower.start()
    while follower.current() is None:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)
    return follower, time.perf_counter() - started


async def _lag_ms(store: Store, follower: Follower, number: int) -> float:
    """From a commit until the item is found."""
    index, queue, item = follower.current(), store.embedding_queue, f"new-{number}"
    assert index is not None
    assert queue is not None
    await store.items.put(Item(item, "title"))
    (claim,) = await queue.claim(1)
    await queue.commit(claim, {VERSION: drawn(1, seed=number).astype(np.float16).tobytes()})
    started = time.perf_counter()
    while not index.rows([item])[1][0]:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)
    return (time.perf_counter() - started) * 1000


async def _idle_ms(follower: Follower) -> float:
    """How long a look at Redis takes when nothing changed."""
    times = []
    for _ in range(50):
        started = time.perf_counter()
        await follower.refresh()
        times.append((time.perf_counter() - started) * 1000)
    return percentile(times, 50)


if __name__ == "__main__":
    run(main)
