"""A searcher does not wait for an index longer than it was told to, and counts what did not answer."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from service.index.rows import NO_ROWS, Rows
from service.index.searcher import Searcher
from service.index.vector_index import IndexUnavailable
from service.metrics import Metrics
from tests.service.index.faults import Remote
from tests.service.recommend.retrieval.test_in_memory import index_of

LOCAL = index_of(tea=[1, 0, 0, 0], hat=[0, 1, 0, 0])


@pytest.fixture
def remote() -> Iterator[Remote]:
    index = Remote(LOCAL)
    yield index
    index.release()


def failures(metrics: Metrics) -> float:
    value = metrics.registry.get_sample_value("tastestream_dependency_failures_total", {"dependency": "vectors"})
    return value or 0.0


async def test_a_failure_is_counted_and_named(remote: Remote) -> None:
    metrics = Metrics()
    searcher, remote.fault = Searcher(metrics), "fails"
    with pytest.raises(IndexUnavailable, match="it fails"):
        await searcher.read(remote, lambda: remote.rows(["tea"]), 60)
    assert failures(metrics) == 1
    with pytest.raises(IndexUnavailable, match="it fails"):
        await searcher.rows(remote, ["tea"], 60)
    assert failures(metrics) == 2
    await searcher.close()


async def test_an_index_that_hangs_is_not_waited_for_and_holds_up_no_local_one(remote: Remote) -> None:
    metrics = Metrics()
    searcher, remote.fault = Searcher(metrics), "hangs"
    async with asyncio.timeout(30):
        for _ in range(4):
            with pytest.raises(IndexUnavailable, match="no answer within"):
                await searcher.rows(remote, ["tea"], 0.01)
        assert await searcher.read(LOCAL, lambda: len(LOCAL), 30) == 2
    assert failures(metrics) == 4
    await searcher.close()


async def test_a_remote_index_is_called_in_threads_alone(remote: Remote) -> None:
    searcher = Searcher(Metrics())
    rows = await searcher.rows(remote, ["hat", "unknown", "tea"], 60)
    assert rows.places.keys() == {"hat", "tea"}
    assert remote.threads
    assert threading.main_thread() not in remote.threads
    assert (await searcher.rows(remote, [], 60), await searcher.rows(None, ["tea"], 60)) == (NO_ROWS, NO_ROWS)
    await searcher.close()


def test_rows_are_given_in_any_order_and_as_zeros_where_there_are_none() -> None:
    rows = Rows.read(LOCAL, ["hat", "unknown", "tea", "hat"])
    vectors, known = rows.of(["tea", "unknown", "never asked for", "tea", "hat"])
    assert known.tolist() == [True, False, False, True, True]
    assert vectors.tolist() == [[1, 0, 0, 0], [0] * 4, [0] * 4, [1, 0, 0, 0], [0, 1, 0, 0]]
