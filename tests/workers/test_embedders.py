"""Versions of an embedder are asked on the servers that promotions name, if the settings allow them."""

from collections.abc import AsyncIterator, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from model_store.engine.breaker import State
from model_store.engine.errors import EngineError
from model_store.registry.registry import Registry
from model_store.views import ItemView
from service.metrics import Metrics
from service.settings import Settings
from service.state.records import Item
from service.state.store import Store
from tests.service.serving import serving
from tests.workers import embedder_double as double
from tests.workers.conftest import Start, until
from tests.workers.doubles import RecordingSummarizer
from tests.workers.embedder_double import NAME, EmbedServer, version
from workers import embedders
from workers.embedders import EmbedderServers, Place
from workers.job import JobUnavailable

pytestmark = pytest.mark.usefixtures("quick_embedders")
OLD, NEW = version(1), version(2)
LOCAL = ("http://127.0.0.1",)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return double.model_store(tmp_path / "models", 1, 2)


@pytest.fixture
async def servers() -> AsyncIterator[dict[str, EmbedServer]]:
    """By URL: that of the settings with version 1, and another one with version 2."""
    first, second = EmbedServer(), EmbedServer([NEW])
    async with serving(first.app()) as one, serving(second.app()) as other:
        yield {one: first, other: second}


@pytest.fixture
def settings(settings: Settings, servers: dict[str, EmbedServer], registry: Registry) -> Settings:
    return double.asking(settings, next(iter(servers)), registry, allowed_urls=LOCAL)


def choosing(settings: Settings, metrics: Metrics | None = None, **embedder: Any) -> EmbedderServers:
    own = settings.embedder.model_copy(update=embedder)
    return EmbedderServers(settings.model_copy(update={"embedder": own}), metrics or Metrics())


async def test_a_promotion_names_the_servers_of_the_new_version_and_a_rollback_needs_none(
    store: Store, start: Start, servers: dict[str, EmbedServer], registry: Registry
) -> None:
    await store.items.put_many([Item(f"i{number}", f"film {number}") for number in range(10)])
    await start(RecordingSummarizer())

    async def complete(index: str) -> bool:
        pointer = await store.embeddings.pointer()
        return bool(pointer and pointer.current == index) and await store.embeddings.size(index) == 10

    await until(lambda: complete(OLD))
    first, second = servers
    registry.promote(NAME, 2, urls=[second])
    await until(lambda: complete(NEW))
    assert {model for model, _ in servers[first].asked} == {OLD}
    assert {model for model, _ in servers[second].asked} == {NEW}
    registry.rollback(NAME)
    await until(lambda: complete(OLD))
    assert sum(len(server.asked) for server in servers.values()) == 20


async def test_the_version_in_use_keeps_the_servers_of_its_promotion(
    settings: Settings, servers: dict[str, EmbedServer], registry: Registry
) -> None:
    first, second = servers
    servers[first].serves, servers[second].serves = [NEW], [OLD]
    registry.promote(NAME, 1, urls=[second])
    registry.promote(NAME, 2)
    choice = choosing(settings)
    assert await choice.place_of(NEW) == Place(first, NEW)
    assert await choice.place_of(OLD) == Place(second, OLD)
    await choice.close()


async def test_a_server_that_is_not_allowed_is_never_asked(
    settings: Settings, registry: Registry, servers: dict[str, EmbedServer], logs: list[MutableMapping[str, Any]]
) -> None:
    _, second = servers
    registry.promote(NAME, 2, urls=[second])
    choice = choosing(settings, allowed_urls=())
    for _ in range(2):
        assert await choice.place_of(NEW) is None
    why = f"{second} is not in TASTESTREAM_EMBEDDER__ALLOWED_URLS"
    assert choice.why_waiting(NEW) == why
    waits = [(entry["version"], entry["why"]) for entry in logs if entry["event"] == "embedder_waits"]
    assert waits == [(NEW, why)], "once"
    await choice.close()


async def test_while_no_named_server_serves_it_those_of_the_settings_do(
    settings: Settings, servers: dict[str, EmbedServer], registry: Registry
) -> None:
    first, second = servers
    registry.promote(NAME, 2, urls=["http://127.0.0.1:1", second])
    choice = choosing(settings)
    assert await choice.place_of(NEW) == Place(second, NEW)
    servers[second].serves = []

    async def waits() -> bool:
        return await choice.place_of(NEW) is None

    await until(waits)
    assert choice.why_waiting(NEW) == f"none of http://127.0.0.1:1, {second}, {first} serves it"
    servers[first].serves.append(NEW)

    async def served() -> bool:
        return await choice.place_of(NEW) == Place(first, NEW)

    await until(served)
    await choice.close()


async def test_a_fixed_number_has_the_servers_of_the_settings(
    settings: Settings, registry: Registry, servers: dict[str, EmbedServer]
) -> None:
    first, second = servers
    registry.promote(NAME, 2, urls=[second])
    choice = choosing(settings, version=NEW)
    assert await choice.place_of(NEW) is None
    assert choice.why_waiting(NEW) == f"none of {first} serves it"
    await choice.close()


async def test_a_served_name_is_that_of_the_wanted_version_on_the_servers_of_the_settings(
    settings: Settings, registry: Registry, servers: dict[str, EmbedServer]
) -> None:
    first, second = servers
    servers[first].serves = ["films"]
    choice = choosing(settings, model="films")
    assert await choice.place_of(OLD) == Place(first, "films")
    assert await choice.place_of(NEW) is None
    assert choice.why_waiting(NEW) == "the servers of the settings serve films: promote with --url"
    registry.promote(NAME, 2, urls=[second])

    async def promoted() -> bool:
        return await choice.place_of(NEW) == Place(second, NEW)

    await until(promoted)
    await choice.close()


async def test_a_job_that_finds_no_server_says_why_of_each_version(
    settings: Settings, store: Store, servers: dict[str, EmbedServer]
) -> None:
    (first, *_) = servers
    servers[first].serves = []
    choice = choosing(settings)
    with pytest.raises(JobUnavailable, match=f"{OLD}: none of {first} serves it"):
        await embedders.Versions(choice, store.embeddings).current()
    await choice.close()


async def opened_breaker(choice: EmbedderServers, server: EmbedServer) -> None:
    """Let the calls of the old version fail until its breaker is open."""
    server.status["film"] = 500
    embedder = await choice.opened(OLD)
    assert embedder is not None
    while embedder.breaker.state is not State.OPEN:
        with suppress(EngineError):
            await embedder.embed(ItemView("film 1"))


def shown(metrics: Metrics) -> tuple[float | None, dict[str, float]]:
    """The state of the breaker, and which versions are said to be in use."""
    versions = {}
    for name in (OLD, NEW):
        labels = {"role": "embedder", "model": name, "mode": "embed"}
        if (value := metrics.registry.get_sample_value("tastestream_model_info", labels)) is not None:
            versions[name] = value
    return metrics.registry.get_sample_value("tastestream_breaker_state", {"engine": "embedder"}), versions


async def test_an_open_breaker_is_shown_until_its_version_is_not_in_use_any_more(
    settings: Settings, servers: dict[str, EmbedServer], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = servers
    choice = choosing(settings, metrics := Metrics())
    await opened_breaker(choice, servers[first])
    servers[first].serves = []

    async def lost() -> bool:
        return await choice.opened(OLD) is None

    await until(lost)
    assert shown(metrics) == (State.OPEN, {OLD: 1}), "wanted, and without a server"
    registry.promote(NAME, 2, urls=[second])

    async def found() -> bool:
        return await choice.opened(NEW) is not None

    await until(found)
    assert shown(metrics) == (State.OPEN, {OLD: 1, NEW: 1})
    monkeypatch.setattr(embedders, "_UNUSED_S", 0.0)
    assert await found()
    assert shown(metrics) == (State.CLOSED, {OLD: 0, NEW: 1})
    await choice.close()


async def test_the_breaker_of_a_server_that_another_one_stands_in_for_is_not_shown(
    settings: Settings, servers: dict[str, EmbedServer], registry: Registry
) -> None:
    first, second = servers
    registry.promote(NAME, 1, urls=[second])
    servers[second].serves = [OLD]
    choice = choosing(settings, metrics := Metrics())
    await opened_breaker(choice, servers[second])
    servers[second].serves = []

    async def elsewhere() -> bool:
        return await choice.opened(OLD) is not None and await choice.place_of(OLD) == Place(first, OLD)

    await until(elsewhere)
    assert shown(metrics) == (State.CLOSED, {OLD: 1})
    await choice.close()
