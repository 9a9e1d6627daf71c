"""Objects of the start are excluded from garbage collection."""

import gc
import weakref
from collections.abc import Iterator

import pytest
import uvicorn

from service import app
from service.heap import freeze_heap
from service.settings import Settings
from workers import run

LOADED = 50_000


@pytest.fixture(autouse=True)
def thawed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is frozen before or after, and the tests' logging stays as it is."""
    monkeypatch.setattr("service.logs.configure", lambda *, json: None)
    monkeypatch.setattr("workers.run.configure", lambda *, json: None)
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.fixture
def frozen() -> list[int]:
    """How many objects were frozen when the work began."""
    return []


def test_garbage_is_collected_first() -> None:
    class Circle:
        pass

    circle = Circle()
    circle.itself = circle  # type: ignore[attr-defined]
    left = weakref.ref(circle)
    del circle
    freeze_heap()
    assert left() is None


def test_a_gateway_freezes_its_heap(monkeypatch: pytest.MonkeyPatch, frozen: list[int]) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_: frozen.append(gc.get_freeze_count()))
    with pytest.raises(SystemExit):
        app.run_gateway(Settings(redis_url="redis://127.0.0.1:1"))
    assert frozen[0] > LOADED


def test_a_worker_freezes_its_heap(monkeypatch: pytest.MonkeyPatch, frozen: list[int]) -> None:
    async def begin(_: Settings) -> None:
        frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(run, "_run", begin)
    run.run_worker(Settings())
    assert frozen[0] > LOADED
