"""One running service for the tests with chosen moments; each test heals it and uses users of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.backend import SingleRedis
from tests.faults.harness import PATIENT, Fleet, running_fleet
from tests.faults.redis_proxy import RedisProxy


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    redis = SingleRedis(tmp_path_factory.mktemp("redis"))
    try:
        async with running_fleet(redis, folder, gateways=2, summarizer_timeout_s=3.0, **PATIENT) as fleet:
            yield fleet
    finally:
        redis.close()


@pytest_asyncio.fixture(loop_scope="package")
async def fleet(running: Fleet) -> Fleet:
    """All parts run and answer."""
    await running.heal()
    return running


@pytest.fixture
def gateway_proxy(fleet: Fleet) -> RedisProxy:
    """Between the first gateway and Redis."""
    assert fleet.gateway_proxy is not None
    return fleet.gateway_proxy


@pytest.fixture
def worker_proxy(fleet: Fleet) -> RedisProxy:
    """Between the first worker and Redis."""
    assert fleet.worker_proxy is not None
    return fleet.worker_proxy
