"""Every process that follows finds what was committed, from Redis or from a file, and changes over to another index."""

import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog

from service.errors import StateUnavailable
from service.index import follower as module
from service.index.follower import Follower
from service.index.vector_index import VectorIndex
from service.metrics import Metrics
from service.state.records import Item
from service.state.store import Store
from tests.embedded_items import ITEMS, NEW, OLD, both, by_number, embedding_store, failed_over, filled
from tests.redis_servers import admin_of, on_both
from tests.stores import embed
from tests.workers.conftest import until


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    async with embedding_store(redis_url) as store:
        yield store


def follower_of(store: Store, folder: Path | None = None) -> tuple[Follower, Metrics]:
    metrics = Metrics()
    return Follower(store.embeddings, folder, 0.02, metrics, "default"), metrics


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"tastestream_index_{name}", labels) or 0.0


def index_of(follower: Follower) -> VectorIndex:
    index = follower.current()
    assert index is not None
    return index


def nearest(follower: Follower, number: int, k: int = 1) -> list[str]:
    (found,) = index_of(follower).search(np.array([by_number(Item(f"i{number}", ""))]), k)
    return found.ids


async def caught_up(follower: Follower) -> None:
    while not await follower.refresh():
        pass


@on_both
async def test_what_is_committed_is_found_in_every_process_and_what_is_deleted_is_not(store: Store) -> None:
    await filled(store, both)
    followers = [follower_of(store) for _ in range(2)]
    for follower, _ in followers:
        await follower.start()
        assert (len(index_of(follower)), nearest(follower, 7)) == (30, ["i7"])
    await store.items.put(replace(ITEMS[7], title="other"))
    await store.items.delete("i9")
    await store.items.put(Item("i40", "new"))
    await embed(store, both)
    for follower, metrics in followers:

        async def knows(follower: Follower = follower) -> bool:
            near = nearest(follower, 40) == ["i40"] and nearest(follower, 27, 2) == ["i27", "i7"]
            return near and "i9" not in nearest(follower, 9, 30)

        await until(knows)
        await follower.close()
        assert value(metrics, "changes_total", outcome="removed") == 1
        assert value(metrics, "lag_seconds_count") >= 1
        assert value(metrics, "vectors", tenant="default") == len(index_of(follower)) == 30


async def test_without_a_pointer_there_is_no_index(store: Store, redis_url: str) -> None:
    follower, _ = follower_of(store)
    await caught_up(follower)
    assert follower.current() is None
    await filled(store, both)
    await caught_up(follower)
    assert len(index_of(follower)) == 30
    with admin_of(redis_url) as admin:
        admin.flushall()
    await caught_up(follower)
    assert follower.current() is None


async def test_another_index_is_loaded_beside_the_one_in_use(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 4)
    monkeypatch.setattr(module, "_PAGES_AT_ONCE", 2)
    pointer = await filled(store, both)
    follower, _ = follower_of(store)
    await caught_up(follower)
    old = index_of(follower)
    await store.embeddings.use(NEW, pointer)
    assert not await follower.refresh()
    assert follower.current() is old
    await store.items.put(Item("i40", "new"))
    await embed(store, both)
    await follower.refresh()
    assert (follower.current() is old, len(old)) == (True, 31), "the old one is kept current meanwhile"
    await caught_up(follower)
    new = index_of(follower)
    assert (new.version, new.dimensions, len(new), len(old)) == (NEW, 4, 31, 31)


async def test_a_start_with_a_file_reads_only_what_changed_since(store: Store, tmp_path: Path) -> None:
    await filled(store, both)
    first, metrics = follower_of(store, tmp_path)
    await caught_up(first)
    assert value(metrics, "loads_total", source="redis") == 1
    await store.items.put_many([replace(ITEMS[3], title="other"), Item("i40", "new")])
    await embed(store, both)
    await store.items.delete("i9")
    second, metrics = follower_of(store, tmp_path)
    await caught_up(second)
    await caught_up(first)
    assert value(metrics, "loads_total", source="file") == 1
    assert [value(metrics, "changes_total", outcome=one) for one in ("upserted", "removed")] == [2, 1]
    query = np.array([by_number(Item("i4", ""))])
    assert index_of(second).search(query, 40)[0].ids == index_of(first).search(query, 40)[0].ids
    assert len(index_of(second)) == 30


async def test_a_file_from_before_its_index_was_dropped_and_filled_again_brings_no_deleted_item_back(
    store: Store, tmp_path: Path
) -> None:
    pointer = await filled(store, both)
    await caught_up(follower_of(store, tmp_path)[0])
    pointer = await store.embeddings.use(NEW, pointer)
    await store.embeddings.drop(OLD)
    await store.items.delete("i9")
    await store.items.put_many([replace(item, title="again") for item in ITEMS if item.item_id != "i9"])
    await embed(store, both)
    await store.embeddings.use(OLD, pointer)
    follower, metrics = follower_of(store, tmp_path)
    await caught_up(follower)
    assert (len(index_of(follower)), "i9" in nearest(follower, 9, 30)) == (29, False)
    assert value(metrics, "loads_total", source="redis") == 1


async def test_files_that_other_processes_finish_meanwhile_do_not_keep_old_ones_from_being_removed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store, both)
    old, listing = tmp_path / "embedder@0.vectors", Path.iterdir
    old.touch()
    monkeypatch.setattr(Path, "iterdir", lambda self: iter([self / "gone.tmp", *listing(self)]))
    with structlog.testing.capture_logs() as logs:
        await caught_up(follower_of(store, tmp_path)[0])
    assert [entry["event"] for entry in logs] == ["index_in_use"]
    assert [path.name for path in listing(tmp_path)] == [f"{OLD}.vectors"]


def _break(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _make_foreign(path: Path) -> None:
    path.write_bytes(b"something else")


@pytest.mark.parametrize("spoil", [_break, _make_foreign])
async def test_a_broken_file_is_ignored_with_a_warning_and_rebuilt(
    store: Store, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    await filled(store, both)
    await caught_up(follower_of(store, tmp_path)[0])
    path = tmp_path / f"{OLD}.vectors"
    spoil(path)
    # As if it had been written long ago: a file that was just written is not replaced.
    os.utime(path, (1, 1))
    follower, metrics = follower_of(store, tmp_path)
    with structlog.testing.capture_logs() as logs:
        await caught_up(follower)
    assert [entry["log_level"] for entry in logs if entry["event"] == "index_file_ignored"] == ["warning"]
    assert (len(index_of(follower)), value(metrics, "loads_total", source="redis")) == (30, 1)
    third, metrics = follower_of(store, tmp_path)
    await caught_up(third)
    assert value(metrics, "loads_total", source="file") == 1


async def test_a_file_of_another_redis_or_of_yesterday_is_ignored(
    store: Store, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store, both)
    for folder in ("yesterday", "foreign"):
        await caught_up(follower_of(store, tmp_path / folder)[0])
    with monkeypatch.context() as patch:
        now = time.time()
        patch.setattr(module.time, "time", lambda: now + 86_400)
        follower, metrics = follower_of(store, tmp_path / "yesterday")
        await caught_up(follower)
        assert value(metrics, "loads_total", source="redis") == 1
    with admin_of(redis_url) as admin:
        admin.flushall()
    await store.items.put(Item("i1", "t"))
    await embed(store, both)
    await store.embeddings.use(OLD, None)
    follower, metrics = follower_of(store, tmp_path / "foreign")
    await caught_up(follower)
    assert (len(index_of(follower)), value(metrics, "loads_total", source="redis")) == (1, 1)


async def test_an_index_that_was_cut_off_for_a_day_is_loaded_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store, both)
    follower, _ = follower_of(store)
    await caught_up(follower)
    stale = index_of(follower)
    await store.items.delete("i3")
    await store.embeddings.prune(OLD, -60)
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 86_400)
    await caught_up(follower)
    assert (follower.current() is stale, len(index_of(follower))) == (False, 29)


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_index_that_has_what_a_failover_lost_is_loaded_anew(
    store: Store, redis_url: str, tmp_path: Path, restarted: bool
) -> None:
    await filled(store, both)
    with failed_over(redis_url):
        await store.items.delete("i3")
        await store.items.put(replace(ITEMS[7], title="other"))
        await embed(store, both)
        follower, _ = follower_of(store, tmp_path)
        await caught_up(follower)
        assert (len(index_of(follower)), sorted(nearest(follower, 27, 2))) == (29, ["i27", "i7"])
    if restarted:
        follower, _ = follower_of(store, tmp_path)
    await caught_up(follower)
    assert (len(index_of(follower)), nearest(follower, 3), nearest(follower, 7)) == (30, ["i3"], ["i7"])


async def test_a_vector_that_does_not_fit_is_refused_and_counted_and_the_others_are_found(
    store: Store, redis_url: str
) -> None:
    await filled(store, both)
    follower, metrics = follower_of(store)
    await caught_up(follower)
    bucket = store.items._keys.item_bucket("i1")
    nan = np.array([np.nan, 1], dtype=np.float16).tobytes()
    with admin_of(redis_url) as admin:
        admin.hset(bucket.vectors(OLD), mapping={"wide": b"123456", "nan": nan})
        at = round(time.time() * 1e6) + 1_000_000
        admin.zadd(bucket.vector_changes(OLD), {"wide": at, "nan": at + 1})
        admin.set(f"{bucket.stem}es", at + 1)
    await store.items.put(Item("i40", "new"))
    await embed(store, both)
    await caught_up(follower)
    assert value(metrics, "changes_total", outcome="refused") == 2
    assert (len(index_of(follower)), nearest(follower, 40)) == (31, ["i40"])


async def test_while_redis_is_down_the_index_serves_and_its_age_shows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store, both)
    follower, metrics = follower_of(store)
    await follower.start()

    async def down(*_: object) -> None:
        raise StateUnavailable("down")

    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(store.embeddings, "changes", down)

        async def aged() -> bool:
            return value(metrics, "age_seconds", tenant="default") > 0.3

        await until(aged)
        assert len(index_of(follower)) == 30
        assert [entry["event"] for entry in logs] == ["index_not_read"]
    await until(lambda: _is(lambda: value(metrics, "age_seconds", tenant="default") < 0.3))
    await follower.close()


async def _is(condition: Callable[[], bool]) -> bool:
    return condition()
