"""A server in place of vLLM that fails on demand, and retries without a delay."""

from collections.abc import AsyncIterator, Iterator

import pytest
import stamina

from tests.model_store.engine.fake_vllm import FakeVllm, running


@pytest.fixture
async def fake() -> AsyncIterator[FakeVllm]:
    async with running() as server:
        yield server


@pytest.fixture
def quick_retries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield
