"""Real parts for the tests: a Redis server and a Redis Cluster of their own, and vLLM servers."""

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from tests.redis_servers import RedisCluster, RedisServer, emptied
from tests.scheduling import TogetherAndLongFirst, long_first
from tests.vllm_servers import ranker_server, summarizer_server, text_ranker_server

__all__ = ["RedisServer", "ranker_server", "summarizer_server", "text_ranker_server"]

# Examples and their making have no time limit of their own: it would measure what else the machine does.
# A commit passes or fails with the same examples each time; FUZZ=1 draws others.
hypothesis.settings.register_profile(
    "tastestream",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize="FUZZ" not in os.environ,
)
hypothesis.settings.load_profile("tastestream")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TogetherAndLongFirst:
    return TogetherAndLongFirst(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        long_first(items)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three masters without replicas."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty Redis; of an empty cluster where a test is marked to run `on_both`."""
    return emptied(request, getattr(request, "param", "one"))
