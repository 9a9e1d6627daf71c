"""With a Qdrant server in the settings, a worker copies vectors there and a gateway searches them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr, ValidationError

from model_store.errors import UserError
from service.index import qdrant as module
from service.index.qdrant import open_qdrant
from service.metrics import Metrics
from service.settings import Settings
from service.settings.engines import EmbedderSettings
from service.state.records import Item
from service.state.store import Store
from service.tenants import Tenants
from tests.service.serving import serving
from tests.workers import embedder_double as double
from tests.workers.conftest import Start, until
from tests.workers.doubles import RecordingSummarizer
from tests.workers.embedder_double import EmbedServer, version
from workers.run import work

URL = "http://qdrant:6333"


@pytest.fixture
async def settings(settings: Settings, tmp_path: Path) -> AsyncIterator[Settings]:
    registry = double.model_store(tmp_path / "models", 1)
    async with serving(EmbedServer().app()) as url:
        yield double.asking(settings, url, registry, poll_s=0.02, qdrant_url=URL, qdrant_api_key=SecretStr("secret"))


@pytest.mark.usefixtures("quick_embedders")
async def test_what_a_worker_embeds_is_found_by_a_gateway(
    store: Store, settings: Settings, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
    client, asked = open_qdrant(":memory:"), list[tuple[str, str | None]]()

    def opened(url: str, api_key: str | None, _: int) -> object:
        asked.append((url, api_key))
        return client

    monkeypatch.setattr(module, "open_qdrant", opened)
    monkeypatch.setattr(client, "close", lambda: None)
    await store.items.put_many([Item(f"i{number}", f"film {10 * number}") for number in range(20)])
    tenants = Tenants(settings, Metrics(), None, Store(settings))  # type: ignore[arg-type]
    await tenants.start()
    await start(RecordingSummarizer())
    current = tenants.named["default"].shelf.vectors.current

    async def found() -> bool:
        index = current()
        if index is None or len(index) < 20:
            return False
        (near,) = index.search(np.array([double.vector(1, "film 70")]), 3)
        return (index.version, near.ids[0], {*near.ids}) == (version(1), "i7", {"i6", "i7", "i8"})

    try:
        await until(found)
    finally:
        await tenants.close()
    assert asked == [(URL, "secret")] * 2


async def test_without_the_extra_neither_gateway_nor_worker_starts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(UserError, match=r"tastestream\[qdrant\]"):
        Tenants(settings, Metrics(), None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"tastestream\[qdrant\]"):
        await work(settings, {}, Metrics(), asyncio.Event())


@pytest.mark.parametrize("url", ["qdrant:6333", "grpc://qdrant:6334", "http://", ":memory:"])
def test_anything_but_the_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="URL of a Qdrant server"):
        EmbedderSettings(qdrant_url=url)


def test_a_url_that_is_left_open_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASTESTREAM_EMBEDDER__QDRANT_URL", "")
    monkeypatch.setenv("TASTESTREAM_EMBEDDER__QDRANT_API_KEY", "secret")
    settings = Settings()
    assert settings.embedder.qdrant_url is None
    assert "secret" not in repr(settings)
