"""A server in place of vLLM."""

from collections.abc import AsyncIterator

import pytest

from tests.model_store.engine.fake_vllm import FakeVllm, running


@pytest.fixture
async def fake() -> AsyncIterator[FakeVllm]:
    async with running() as server:
        yield server
