"""A store with an embedder, and Qdrant in local mode."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from service.index.qdrant import open_qdrant
from service.state.store import Store
from tests.embedded_items import embedding_store
from workers import embedding_mirror as module

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    async with embedding_store(redis_url) as store:
        yield store


@pytest.fixture
def qdrant() -> Iterator["QdrantClient"]:
    client = open_qdrant(":memory:")
    yield client
    client.close()


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """New indexes are noticed at once, and what was replaced is deleted in the next round."""
    monkeypatch.setattr(module, "_LOOK_S", 0.0)
    monkeypatch.setattr(module, "_RETIRED_S", 0.0)
