"""Gateways search the collection of the index in use, once it is complete. Qdrant runs in local mode."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from service.index.shared import SharedFollower
from service.metrics import Metrics
from service.state.records import Item
from service.state.store import Store
from tests.embedded_items import ITEMS, NEW, OLD, both, filled
from tests.redis_servers import admin_of
from tests.stores import embed
from tests.workers.conftest import until
from tests.workers.mirror.copies import caught_up, is_so, worker_of
from workers import embedding_mirror as module

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")


class TestGateways:
    async def test_a_gateway_changes_over_when_the_collection_is_complete(
        self, store: Store, qdrant: "QdrantClient", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        metrics = Metrics()
        gateway = SharedFollower(store.mirrors, qdrant, 0.02, metrics, "default")
        worker = worker_of(store, qdrant)
        pointer = await filled(store)
        await gateway.refresh()
        assert gateway.current() is None
        await caught_up(worker)
        await gateway.start()
        old_index = gateway.current()
        assert old_index is not None
        assert (old_index.version, len(old_index)) == (OLD, 30)
        await store.items.put_many([replace(item, title="other") for item in ITEMS])
        await embed(store, both)
        await store.embeddings.use(NEW, pointer)
        await gateway.refresh()
        assert gateway.current() is old_index
        monkeypatch.setattr(module, "_PAGE", 8)
        monkeypatch.setattr(module, "_PAGES_AT_ONCE", 1)
        assert not await worker.refresh()
        await gateway.refresh()
        assert gateway.current() is old_index, "the new one is not complete"
        await caught_up(worker)
        await until(lambda: is_so((index := gateway.current()) is not None and index.version == NEW))
        await store.items.put(Item("i40", "new"))
        await embed(store, both)
        await caught_up(worker)
        index = gateway.current()
        assert index is not None
        assert (index.dimensions, len(index)) == (4, 31)
        value = metrics.registry.get_sample_value
        await until(lambda: is_so(value("tastestream_index_vectors", {"tenant": "default"}) == 31))
        assert (value("tastestream_index_lag_seconds_count") or 0) >= 1
        assert value("tastestream_index_loads_total", {"source": "qdrant"}) == 2
        await gateway.close()

    async def test_the_age_of_an_index_that_no_worker_updates_grows(
        self, store: Store, qdrant: "QdrantClient", redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        metrics = Metrics()
        gateway = SharedFollower(store.mirrors, qdrant, 0.02, metrics, "default")
        await filled(store)
        await caught_up(worker_of(store, qdrant))
        now = time.time()
        monkeypatch.setattr("service.index.shared.time.time", lambda: now + 600)
        await gateway.refresh()
        age = metrics.registry.get_sample_value("tastestream_index_age_seconds", {"tenant": "default"})
        assert age == pytest.approx(600, abs=30)
        with admin_of(redis_url) as admin:
            admin.flushall()
        await gateway.refresh()
        assert gateway.current() is None
