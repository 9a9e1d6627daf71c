"""A model server that was started here never outlives the work that needed it."""

from pathlib import Path

import pytest

from model_store.engine.engine import Engine
from model_store.evaluate import server as servers
from model_store.evaluate.server import ModelServer
from model_store.for_each import for_each
from model_store.progress import quiet
from model_store.serving.processes import ChildFailed
from tests.model_store.engine.fake_vllm import FakeVllm
from tests.model_store.evaluate.asked import make_store, subject


class Started:
    """In place of a vLLM server, at the URL of another."""

    every: list["Started"]
    healthy = True

    def __init__(self, *_: object) -> None:
        self.running = False
        self.every.append(self)

    async def start(self) -> None:
        self.running = True

    async def wait_healthy(self, *_: object) -> None:
        if not self.healthy:
            raise ChildFailed("it is not healthy after 600 s")

    async def stop(self) -> None:
        self.running = False


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, fake: FakeVllm) -> type[Started]:
    class Here(Started):
        every = []
        url = fake.url

    monkeypatch.setattr(servers, "VllmServer", Here)
    return Here


@pytest.fixture
def model(started: type[Started], fake: FakeVllm, tmp_path: Path) -> ModelServer:
    found = subject(make_store(tmp_path / "store"), fake)
    return ModelServer(found.ranker, found.registry, None, tmp_path / "log", quiet)


async def test_it_is_stopped_after_the_work(model: ModelServer, started: type[Started]) -> None:
    async with model as server:
        await server.engine()
        assert [one.running for one in started.every] == [True]
    assert [one.running for one in started.every] == [False]


async def test_it_is_stopped_if_a_connection_does_not_close(
    model: ModelServer, started: type[Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(engine: Engine) -> None:
        await closed(engine)
        raise OSError("the connection is lost")

    closed = Engine.close
    monkeypatch.setattr(Engine, "close", refuse)
    with pytest.raises(OSError, match="the connection is lost"):
        async with model as server:
            await server.engine()
    assert [one.running for one in started.every] == [False]


async def test_it_is_stopped_if_it_serves_another_version(
    model: ModelServer, started: type[Started], fake: FakeVllm
) -> None:
    fake.replies["/v1/models"] = lambda _: (200, {"data": [{"id": "other@1"}]})
    with pytest.raises(servers.UserError, match=r"serves other@1, not tiny-ranker@1"):
        async with model as server:
            await server.engine()
    assert [one.running for one in started.every] == [False]


async def test_all_are_stopped_if_several_tasks_tried_to_start_one(model: ModelServer, started: type[Started]) -> None:
    started.healthy = False

    async def ask(_: int) -> None:
        await model.engine()

    with pytest.raises(ChildFailed, match="not healthy"):
        async with model:
            await for_each(range(4), ask, 4)
    assert started.every
    assert not any(one.running for one in started.every)
