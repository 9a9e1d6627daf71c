"""A server in place of vLLM that fails on demand, engines that ask it, and retries without a delay."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import stamina

from model_store.engine.engine import Engine
from model_store.registry.manifest import Manifest
from tests.model_store.engine.examples import PROMPTS
from tests.model_store.engine.fake_vllm import FakeVllm, running

Make = Callable[..., Engine]


@pytest.fixture
async def fake() -> AsyncIterator[FakeVllm]:
    async with running() as server:
        yield server


@pytest.fixture
def quick_retries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture
async def make(fake: FakeVllm) -> AsyncIterator[Make]:
    """Makes engines that ask `fake`, and closes them."""
    made: list[Engine] = []

    def engine(model: str = fake.model, **options: Any) -> Engine:
        names = ("labels", "picture", "picture_tokens", "serving")
        version = {name: options.pop(name) for name in names if name in options}
        manifest = Manifest(name="fake", version=1, role="ranker", **version) if version else None
        # A busy machine may take longer to connect than the default allows.
        made.append(Engine(fake.url, model, PROMPTS, manifest, **{"connect_timeout_s": 10.0, **options}))
        return made[-1]

    yield engine
    for one in made:
        await one.close()
